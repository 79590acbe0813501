"""Texts, addresses and instants in the form in which a credential may hold them to be signed."""

import re
from datetime import UTC, datetime
from typing import Final

from openbadges.errors import Invalid

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
IRI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s\x00-\x20\x7f<>\"{}|^`\\]+")
"""An absolute IRI (RFC 3987), as strictly as N-Quads writes it: anything else vanishes from what is signed."""


class NotSignable(Invalid):
    """Canonicalisers differ on control characters and bad addresses: not everyone would sign the same."""


def text(value: str) -> str:
    """Return the text if it can be signed.

    Raises NotSignable for control characters other than tab and line ends.
    """
    if _CONTROL.search(value):
        raise NotSignable("control characters cannot be signed")
    return value


def iri(value: str) -> str:
    """Return the address if it can be signed.

    Raises NotSignable for what is no absolute IRI: it would vanish from the signed statement.
    """
    if not IRI.fullmatch(value):
        raise NotSignable(f"{value!r} is not an absolute address")
    return value


def instant(at: datetime) -> str:
    """Return an instant in the form in which it is signed: RFC 3339 in UTC, whole seconds."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
