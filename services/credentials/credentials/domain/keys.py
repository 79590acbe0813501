"""The life of a signing key: published ahead, in use, kept for what it signed, or struck out.

A verifier asks whether the issuer names the key now. So a retired key stays published as long as what it signed
lives; a compromised one is struck out at once, and everything it signed is signed anew.
"""

from datetime import datetime, timedelta
from enum import StrEnum

from shared.clock import later
from shared.errors import Conflict


class KeyState(StrEnum):
    """Where a signing key of the issuer stands.

    - `next`: published, not signing yet.
    - `active`: it signs.
    - `retired`: it signs no more and stays published for what it signed.
    - `compromised`: struck out; nothing it signed verifies any more.
    """

    NEXT = "next"
    ACTIVE = "active"
    RETIRED = "retired"
    COMPROMISED = "compromised"


PUBLISHED = frozenset({KeyState.NEXT, KeyState.ACTIVE, KeyState.RETIRED})
"""States in which the issuer's DID document names the key."""

PUBLISHED_AHEAD = timedelta(hours=24)
"""How long a key is published before it signs: others cache the issuer's DID document that long."""


class NextKeyExists(Conflict):
    """There is a next key of this suite already."""

    remedy = "Activate the next key there is."


class NotNext(Conflict):
    """Only a next key can become the active one."""

    remedy = "Make a next key first."


class PublishedTooRecently(Conflict):
    """Whoever holds yesterday's copy of the issuer's document would refuse what this key signs."""

    remedy = "Wait as long as `detail` says, then activate the key."


def check_activation(state: str, published_at: datetime, now: datetime) -> None:
    """Check that a key can become the active one now. Raises NotNext, PublishedTooRecently."""
    if state != KeyState.NEXT:
        raise NotNext(f"this key is {state}")
    if now - published_at < PUBLISHED_AHEAD:
        ready = later(published_at, PUBLISHED_AHEAD)
        raise PublishedTooRecently(f"it may sign from {ready.isoformat()} on", ready_at=ready.isoformat())
