"""What the service and the process that works on one document say to each other over a socket.

A message is its kind, the length of its body, and the body.
"""

from collections.abc import Iterator
from datetime import datetime
from enum import IntEnum
from struct import Struct
from typing import Final

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from credentials.adapters import contexts, coverage, json_ld
from credentials.adapters.verification import examination, jose, plain_json, reading
from credentials.adapters.verification.examination import Examined
from credentials.adapters.verification.limits import Limits
from credentials.adapters.verification.report import Report
from shared.errors import Refusal

HEAD: Final = Struct("!BI")


class Kind(IntEnum):
    ORDER = 1
    """To the process: what is wanted, an `Order`."""
    DOCUMENT = 2
    """To the process, after the order."""
    PAUSE = 3
    """From the process: it has computed for as long as it may at a time, and waits for GO_ON."""
    GO_ON = 4
    FETCH = 5
    """From the process: it wants what is at an address, a `Fetch`."""
    FETCHED = 6
    NOT_FETCHED = 7
    """To the process: why not, a `Failure`."""
    ANSWER = 8
    """From the process, at the end: an `Answer`."""


@dataclass
class Order:
    """To be verified as of `now`, or merely examined; `niceness` and the limits of the work go with it."""

    limits: Limits
    now: datetime | None = None


@dataclass
class Fetch:
    url: str
    most_bytes: int
    own_word: bool


@dataclass
class Failure:
    code: str
    detail: str


@dataclass(config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))
class Answer:
    """What was found, or the code and words of the refusal."""

    examined: Examined | None = None
    report: Report | None = None
    refused: Failure | None = None


ORDERS: Final = TypeAdapter(Order)
FETCHES: Final = TypeAdapter(Fetch)
FAILURES: Final = TypeAdapter(Failure)
ANSWERS: Final = TypeAdapter(Answer)


def pack(kind: Kind, body: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(body)) + body


def refusal(failure: Failure) -> Refusal:
    """The same refusal on this side of the wire."""
    return _REFUSALS[failure.code](failure.detail)


def _refusals() -> Iterator[type[Refusal]]:
    for module in (contexts, coverage, examination, jose, json_ld, plain_json, reading):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Refusal) and value.__module__ == module.__name__:
                yield value


_REFUSALS: Final = {kind.code: kind for kind in _refusals()}
