"""The messages between the service and the process that works on one document, over a socket.

A message is its kind, the length of its body, and the body.
"""

from collections.abc import Iterator
from datetime import datetime
from enum import IntEnum
from struct import Struct
from typing import Final

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from openbadges import contexts, coverage, json_ld
from openbadges.errors import BadgeError
from openbadges.verification import jose, parsing, plain_json, reading
from openbadges.verification.limits import Limits
from openbadges.verification.parsing import ParsedCredential
from openbadges.verification.report import Report

HEAD: Final = Struct("!BI")


class Kind(IntEnum):
    ORDER = 1
    """To the process: what is asked, an `Order`."""
    DOCUMENT = 2
    """To the process, after the order."""
    PAUSE = 3
    """From the process: it has computed for as long as it may at a time, and waits for GO_ON."""
    GO_ON = 4
    FETCH = 5
    """From the process: it asks for what is at an address, a `Fetch`."""
    FETCHED = 6
    NOT_FETCHED = 7
    """To the process: why that was not fetched, a `Failure`."""
    ANSWER = 8
    """From the process, at the end: an `Answer`."""


@dataclass
class Order:
    """An order to verify as of `now`, or merely to parse; the limits of the work go with it."""

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
    """The result, or the code and words of the error."""

    parsed: ParsedCredential | None = None
    report: Report | None = None
    refused: Failure | None = None


ORDERS: Final = TypeAdapter(Order)
FETCHES: Final = TypeAdapter(Fetch)
FAILURES: Final = TypeAdapter(Failure)
ANSWERS: Final = TypeAdapter(Answer)


def pack(kind: Kind, body: bytes = b"") -> bytes:
    return HEAD.pack(kind, len(body)) + body


def error_of(failure: Failure) -> BadgeError:
    """Return the error of a failure, for this side of the socket."""
    return _ERRORS[failure.code](failure.detail)


def _kinds() -> Iterator[type[BadgeError]]:
    for module in (contexts, coverage, parsing, jose, json_ld, plain_json, reading):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, BadgeError) and value.__module__ == module.__name__:
                yield value


_ERRORS: Final = {kind.code: kind for kind in _kinds()}
