"""The errors that the front door itself answers with, without or instead of a service."""

import sys
from collections.abc import Iterator

from shared import errors
from shared.errors import BadUpstream, DomainError, Malformed, TooLarge, TooMany, Unavailable
from shared.web.problems import DeadlineExceeded, InternalError, MethodNotAllowed, NoSuchOperation

__all__ = ["DeadlineExceeded", "InternalError", "MethodNotAllowed", "NoSuchOperation"]


class MalformedRequest(Malformed):
    """The bytes that arrived are not one unambiguous HTTP/1.1 request."""


class MalformedPath(Malformed):
    """The path can be read in two ways (encoded slash or dot, empty segment, backslash, `;`), so it is not read."""


class MalformedHost(Malformed):
    """Exactly one well-formed Host header is required (RFC 9112 §3.2)."""


class MalformedHeader(Malformed):
    """A header that two parsers may understand differently."""


class UnsupportedTransferCoding(Malformed):
    """Only `chunked` is understood; anything else would change meaning on the way."""


class RequestTimeout(DomainError):
    """The caller did not send its request in time."""

    status = 408
    title = "Request took too long to arrive"


class BodyTooLarge(TooLarge):
    """The body exceeds what this path takes."""


class UrlTooLong(DomainError):
    """The address is longer than is read."""

    status = 414
    title = "Address too long"


class HeadersTooLarge(DomainError):
    """The header fields are larger than is read."""

    status = 431
    title = "Header fields too large"


class RateLimited(TooMany):
    """The caller's allowance for this window is used up."""


class OriginNotAllowed(DomainError):
    """A browser asked for an origin that is not on the allow-list."""

    status = 403
    title = "Not allowed"
    remedy = "Have whoever runs this installation add the page's origin to `MC_ORIGINS`."


class ServiceUnreachable(Unavailable):
    """No connection to the service could be made; nothing of the request was sent."""


class ServiceBusy(Unavailable):
    """All connections to the service are in use; nothing of the request was sent."""


class ServiceFailed(BadUpstream):
    """The connection broke after the request was sent: whether it took effect is unknown."""

    title = "A service did not answer properly"


class CallersUnrecognisable(Unavailable):
    """The keys that verify tokens cannot be read, so nobody can be recognised at the moment."""


def kinds() -> Iterator[type[DomainError]]:
    """Yield the kinds of error of this module, with those every service has and this module re-exports."""
    for kind in vars(sys.modules[__name__]).values():
        if isinstance(kind, type) and issubclass(kind, DomainError) and kind.__module__ != errors.__name__:
            yield kind
