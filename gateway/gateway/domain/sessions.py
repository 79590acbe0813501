"""Sign-in sessions: a family of refresh tokens, each used once, the next made from the one before.

The successor of a token is derived from it with a secret of the platform, so that only hashes are stored and a repeat
within the grace period still gets the same successor.
"""

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from shared.clock import later
from shared.errors import Unauthenticated


class InvalidRefreshToken(Unauthenticated):
    """Unknown, expired, signed out, or used a second time."""

    remedy = "Sign in anew at `POST /v1/sign-ins`."


class Refresh(Enum):
    """What happens to a refresh token that is presented."""

    ROTATE = auto()
    """Its first use: it is superseded by its successor."""
    REPEAT = auto()
    """The reply was lost, or two requests came at once: the newest token of the family is given to each."""
    REUSED = auto()
    """Somebody else has it too: the whole family ends."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A refresh token's state when it is presented."""

    superseded_at: datetime | None
    family_expires_at: datetime
    family_ended_at: datetime | None


def judge(presented: Presented, now: datetime, grace: timedelta) -> Refresh:
    """Decide what to do about a presented refresh token (RFC 9700 §4.14.2).

    Within `grace` of its first use a lost reply may be asked for again.

    :raises InvalidRefreshToken: its session has ended
    """
    if presented.family_ended_at is not None or now >= presented.family_expires_at:
        raise InvalidRefreshToken("this session has ended; sign in again")
    if presented.superseded_at is None:
        return Refresh.ROTATE
    if now < later(presented.superseded_at, grace):
        return Refresh.REPEAT
    return Refresh.REUSED


def first_token() -> str:
    return secrets.token_urlsafe(32)


def successor(token: str, secret: bytes) -> str:
    """Return the one refresh token that may follow this one."""
    digest = hmac.digest(secret, b"refresh\0" + token.encode(), hashlib.sha256)
    return urlsafe_b64encode(digest).decode().rstrip("=")


def newest(token: str, secret: bytes, digest: bytes, most: int) -> str:
    """Return the descendant of this token with the digest `digest`, at most `most` generations on.

    :raises InvalidRefreshToken: there is none: the secret has changed since
    """
    for _ in range(most):
        token = successor(token, secret)
        if hmac.compare_digest(fingerprint(token), digest):
            return token
    raise InvalidRefreshToken("this session cannot be followed; sign in again")


def fingerprint(token: str) -> bytes:
    """Return the digest of a token that is stored. It has 256 random bits, so its plain SHA-256 gives
    nothing away (the exception of `shared.digests`)."""
    return hashlib.sha256(token.encode()).digest()
