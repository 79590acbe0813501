"""Checks on a request before it is routed: one reading of the path, one Host, only headers a caller may send.

Measured with uvicorn's parsers: both let encoded slashes and dots, underscored header names and any number of
headers pass; httptools lets two Hosts or none pass. This guard closes those gaps on the raw bytes.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.edge.errors import (
    HeadersTooLarge,
    MalformedHeader,
    MalformedHost,
    MalformedPath,
    UnsupportedTransferCoding,
    UrlTooLong,
)

# Segments of unreserved and harmless characters. Refused escapes: `.` `/` `\` `;` `%`, controls, and bytes
# that no UTF-8 text holds (overlong forms of the former).
_PATH: Final = re.compile(
    rb"(?:/(?!\.\.?(?:/|\Z))"
    rb"(?:[A-Za-z0-9._~!$&'()*+,=:@-]"
    rb"|%(?!2[eEfF5]|5[cC]|3[bB]|[01]|7[fF]|[cC][01]|[fF][5-9a-fA-F])[0-9A-Fa-f]{2})+)*/?"
)
_QUERY: Final = re.compile(rb"[!-~]*")
_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_LENGTH: Final = re.compile(rb"[0-9]{1,15}")

_HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-connection proxy-authenticate proxy-authorization te trailer upgrade expect "
    b"http2-settings".split()
)
# Headers by which proxies describe a caller. They are dropped: from outside they are claims that nothing proves.
_CLAIMED: Final = re.compile(
    rb"forwarded|via|x-forwarded(-.*)?|x-real-ip|x-client-ip|true-client-ip|x-(user|account|role|auth|internal)(s|-.*)?"
    rb"|x-original-.*|x-rewrite-.*|x-http-method.*|x-method-override|x-request-timeout-ms"
)

# The verdict on a header's name: bytes are the `name: ` to pass it on with, a string the field of Head to keep it in.
_DROP, _REFUSE = 1, 2
_NOTED: Final = {
    b"host": "host",
    b"content-length": "content_length",
    b"transfer-encoding": "transfer_coding",
    b"authorization": "authorization",
    b"idempotency-key": "idempotency_key",
    b"x-request-id": "request_id",
    b"traceparent": "traceparent",
    b"origin": "origin",
    b"connection": "connection",
    b"x-forwarded-for": "forwarded_for",
}
_LISTS: Final = frozenset({"connection", "forwarded_for"})
_PASSED: Final = frozenset({"authorization", "idempotency_key"})
_verdicts: dict[bytes, bytes | str | int] = {}
_VERDICTS_KEPT: Final = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """The largest request that is let through: `headers` is a number of fields, the others are bytes."""

    url: int = 8_192
    headers: int = 100
    header_bytes: int = 16_384
    body: int = 1_048_576


class Head:
    """A request's headers, sorted: `lines` are passed on as they are, the front door acts on the others."""

    __slots__ = (
        "authorization",
        "chunked",
        "connection",
        "content_length",
        "forwarded_for",
        "host",
        "idempotency_key",
        "length",
        "lines",
        "origin",
        "request_id",
        "traceparent",
        "transfer_coding",
    )

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.chunked = False
        self.length: int | None = None
        self.host: bytes | None = None
        self.content_length: bytes | None = None
        self.transfer_coding: bytes | None = None
        self.authorization: bytes | None = None
        self.idempotency_key: bytes | None = None
        self.request_id: bytes | None = None
        self.traceparent: bytes | None = None
        self.origin: bytes | None = None
        self.connection: bytes | None = None
        self.forwarded_for: bytes | None = None

    def note(self, field: str, name: bytes, value: bytes) -> None:
        """Keep a header that the front door acts on.

        :raises MalformedHost: 400, a second Host
        :raises MalformedHeader: 400, a second one of another that may come once
        """
        present: bytes | None = getattr(self, field)
        if present is None:
            setattr(self, field, value)
            if field in _PASSED:
                self.lines.append(name + b": " + value)
        elif field in _LISTS:
            setattr(self, field, present + b"," + value)
        elif field == "host":
            raise MalformedHost("exactly one well-formed Host header is required")
        else:
            raise MalformedHeader(f"{name.decode()} may be given once")


def check_target(raw_path: bytes, query: bytes, limits: Limits) -> None:
    """Check that an address is not too long and that every parser reads it in the same way.

    :raises UrlTooLong: 414
    :raises MalformedPath: 400
    """
    if len(raw_path) + len(query) > limits.url:
        raise UrlTooLong(f"the address may have {limits.url} bytes")
    if not raw_path or _PATH.fullmatch(raw_path) is None:
        raise MalformedPath("the path holds an empty or dotted segment, an encoded separator or a forbidden character")
    if query and _QUERY.fullmatch(query) is None:
        raise MalformedPath("the query holds characters that must be percent-encoded")


def sort_headers(headers: Iterable[tuple[bytes, bytes]], limits: Limits) -> Head:
    """Sort a request's headers (names in lower case, as ASGI gives them) into a :class:`Head`.

    :raises HeadersTooLarge: 431
    :raises MalformedHeader: 400, an underscored name or a header that may come only once and came twice
    :raises MalformedHost: 400, no Host, two, or one that is no host
    :raises UnsupportedTransferCoding: 400, another than `chunked`
    """
    head = Head()
    lines = head.lines
    size = count = 0
    for name, value in headers:
        count += 1
        size += len(name) + len(value) + 4
        verdict = _verdicts.get(name) or _judge(name)
        if isinstance(verdict, bytes):
            lines.append(verdict + value)
        elif isinstance(verdict, str):
            head.note(verdict, name, value)
        elif verdict == _REFUSE:
            raise MalformedHeader("header names may not hold an underscore")
    if count > limits.headers or size > limits.header_bytes:
        raise HeadersTooLarge(f"at most {limits.headers} header fields of {limits.header_bytes} bytes in all")
    if head.host is None or _HOST.fullmatch(head.host) is None:
        raise MalformedHost("exactly one well-formed Host header is required")
    if head.content_length is not None or head.transfer_coding is not None:
        _frame(head)
    if head.connection is not None:
        _drop_named(head, head.connection)
    return head


def _frame(head: Head) -> None:
    """Set how the body is framed: by its length or in chunks, never both (RFC 9112 §6.1)."""
    if head.transfer_coding is not None:
        if head.transfer_coding.strip().lower() != b"chunked":
            raise UnsupportedTransferCoding("only the transfer coding `chunked` is understood")
        if head.content_length is not None:
            raise MalformedHeader("Content-Length and Transfer-Encoding together have two readings")
        head.chunked = True
    elif head.content_length is not None:
        if _LENGTH.fullmatch(head.content_length) is None:
            raise MalformedHeader("Content-Length must be one plain number")
        head.length = int(head.content_length)


def _drop_named(head: Head, connection: bytes) -> None:
    """Drop the headers that Connection names as of this hop alone (RFC 9110 §7.6.1).

    :raises MalformedHeader: 400, it names one that the front door acts on
    """
    for token in connection.split(b","):
        name = token.strip().lower()
        if name in _NOTED and name != b"connection":
            raise MalformedHeader("Connection may not name an end-to-end header")
        if name and name not in _HOP_BY_HOP and name != b"close":
            prefix = name + b": "
            head.lines[:] = [line for line in head.lines if not line.startswith(prefix)]


def _judge(name: bytes) -> bytes | str | int:
    verdict: bytes | str | int
    if name in _NOTED:
        verdict = _NOTED[name]
    elif b"_" in name:
        verdict = _REFUSE
    elif name in _HOP_BY_HOP or _CLAIMED.fullmatch(name) is not None:
        verdict = _DROP
    else:
        verdict = name + b": "
    if len(_verdicts) < _VERDICTS_KEPT:
        _verdicts[name] = verdict
    return verdict


def is_address(text: str) -> bool:
    """Whether `text` is an IP address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
