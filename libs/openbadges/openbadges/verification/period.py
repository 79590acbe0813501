"""From when until when a credential, a claim, a proof, a key or a list is valid: one rule for all five.

Source: W3C Verifiable Credentials 2.0 §4.9 and 1.1, Data Integrity 1.0 §2.1, Controlled Identifiers 1.0 §2.2; RFC 7519.
"""

from datetime import UTC, datetime

from openbadges.members import Members
from openbadges.verification.report import Broken

BEGINS = ("validFrom", "issuanceDate", "nbf")
ENDS = ("validUntil", "expirationDate", "exp", "expires", "revoked")


def check_period(said: Members, now: datetime) -> None:
    """Raise Broken before something is valid and from its end on; TypeError, ValueError where that cannot be read."""
    if any(_at(said[name]) > now for name in BEGINS if is_said(said, name)):
        raise Broken("not_yet_valid", "It is not valid yet.")
    if any(_at(said[name]) <= now for name in ENDS if is_said(said, name)):
        raise Broken("expired", "It has expired.")


def is_said(said: Members, name: str) -> bool:
    """Return whether a member says anything: some issuers write null for no end, and false for not revoked."""
    value = said.get(name)
    return value is not None and not (name == "revoked" and value is False)


def has_ended(said: Members, now: datetime) -> bool:
    """Return whether a period in which something is valid has ended; a period that cannot be read has."""
    try:
        check_period(said, now)
    except (Broken, TypeError, ValueError, OverflowError):
        return True
    return False


def instant(value: object) -> datetime:
    """Return the instant of a text. Raises TypeError, ValueError, also without a time zone: it could be another
    instant."""
    if not isinstance(value, str):
        raise TypeError("not an instant")
    at = datetime.fromisoformat(value)
    if at.tzinfo is None:
        raise ValueError("no zone")
    return at.astimezone(UTC)


def of_numeric_date(value: object) -> datetime:
    """Return the instant of a number of seconds since 1970 (RFC 7519). Raises TypeError, ValueError, OverflowError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number of seconds")
    try:
        return datetime.fromtimestamp(value, UTC)
    except OSError as error:  # what the C library says of some years
        raise OverflowError("of no year of the calendar") from error


def _at(value: object) -> datetime:
    return instant(value) if isinstance(value, str) else of_numeric_date(value)
