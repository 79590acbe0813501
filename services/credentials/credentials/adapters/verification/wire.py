"""How a document goes to the process that examines it, and what comes back: a length, then that many bytes."""

from collections.abc import Iterator
from typing import Final

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from credentials.adapters import coverage, json_ld
from credentials.adapters.verification import examination, jose, plain_json, reading
from credentials.adapters.verification.examination import Examined
from credentials.adapters.verification.limits import Limits
from shared.errors import Refusal

HEAD: Final = 4
"""Bytes of a length."""


@dataclass(config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
class Answer:
    """Either what was found, or the code and words of the refusal."""

    examined: Examined | None = None
    code: str | None = None
    detail: str = ""


ANSWERS: Final = TypeAdapter(Answer)
LIMITS: Final = TypeAdapter(Limits)


def pack(body: bytes) -> bytes:
    return len(body).to_bytes(HEAD, "big") + body


def refusal(code: str, detail: str) -> Refusal:
    """The same refusal on this side of the wire."""
    return _REFUSALS[code](detail)


def _refusals() -> Iterator[type[Refusal]]:
    for module in (coverage, examination, jose, json_ld, plain_json, reading):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Refusal) and value.__module__ == module.__name__:
                yield value


_REFUSALS: Final = {kind.code: kind for kind in _refusals()}
