"""Partners: programs of other organisations, known by an id, two secrets at most, and the scopes they may ask for."""

import secrets
from collections.abc import Iterable
from typing import Final

from shared.errors import Conflict, Invalid, Unauthenticated

SCOPES: Final = (
    "catalogue:read",
    "credentials:read",
    "transcripts:read",
    "transfers:decide",
    "webhooks:manage",
)
LIVE_SECRETS: Final = 2
SECRET_PREFIX: Final = 8


class UnknownScope(Invalid):
    """A scope this platform does not have, or this client may not ask for."""

    remedy = "Ask for scopes that this client was given."


class InvalidClient(Unauthenticated):
    """RFC 6749 §5.2 `invalid_client`: no such client, or not its secret."""

    remedy = "Check client id and secret; whoever runs this installation can give a new secret."


class UnsupportedGrantType(Invalid):
    """Only client_credentials is offered here."""

    status = 400


class TooManyClientSecrets(Conflict):
    """Two secrets may live at once, so that one can be changed without a gap; withdraw one first."""

    remedy = "Withdraw one of the secrets first."


class SecretAlreadyWithdrawn(Conflict):
    """A secret is withdrawn once."""

    remedy = "Nothing is left to do."


def check_scopes(scopes: Iterable[str], among: Iterable[str] = SCOPES) -> tuple[str, ...]:
    """Return the scopes in alphabetical order, each once.

    :raises UnknownScope: one of them is not `among` those on offer
    """
    wanted = set(scopes)
    if unknown := sorted(wanted - set(among)):
        raise UnknownScope(f"no such scope for you: {' '.join(unknown)}", error="invalid_scope")
    return tuple(sorted(wanted))


def new_secret() -> str:
    return "mcs_" + secrets.token_urlsafe(32)
