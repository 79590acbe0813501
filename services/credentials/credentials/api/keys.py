"""The issuer's keys: operators make, activate and strike them out; anyone reads the public halves."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from fastapi import Path, Request, Response
from pydantic import Field, StringConstraints

from credentials.api.records import Issuing
from credentials.commands import keys as commands
from credentials.domain.keys import KeyState, NextKeyExists, NotNext, PublishedTooRecently
from credentials.queries.keys import carriers_of, history_of, keys_query, published_keys
from credentials.tables.keys import SigningKey
from openbadges.dids import p256_jwk
from openbadges.keys import Suite
from shared.paging import paginate
from shared.web import (
    CallerOf,
    Idempotent,
    Instant,
    KeySetResponse,
    Page,
    Paging,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    conditional,
    error_responses,
    page_of,
    view_of,
)
from shared.web.content import Text

router = Router()

KeyName = Annotated[str, Path(pattern=r"^[a-z0-9-]{1,64}$", examples=["ed25519-2026-11-0f3a9c1e"])]


class KeyEventView(View):
    """A change of a signing key's state: when, by which operator, and why."""

    state: KeyState = Field(description="Which it came into", examples=["active"])
    by: str = Field(examples=["0193a1c0-0000-7000-8000-000000000009"])
    reason: str = Field(examples=["yearly rotation"])
    at: Instant = Field(examples=["2026-11-23T12:00:00Z"])


class SigningKeyView(View):
    """A key of the issuer; its private half is never shown."""

    name: str = Field(examples=["ed25519-2026-11-0f3a9c1e"])
    verification_method: str = Field(examples=["did:web:badges.example.ac.uk#ed25519-2026-11-0f3a9c1e"])
    suite: Suite = Field(description="Embedded proofs, or tokens", examples=["eddsa-rdfc-2022"])
    state: KeyState = Field(
        description="`next`: published, not signing yet. `active`: signs. `retired`: published for what it signed. "
        "`compromised`: struck out",
        examples=["active"],
    )
    published_at: Instant = Field(examples=["2026-11-22T12:00:00Z"])
    activated_at: Instant | None = Field(examples=["2026-11-23T12:00:00Z"])
    retired_at: Instant | None = Field(examples=[None])
    compromised_at: Instant | None = Field(examples=[None])
    carriers: int = Field(
        description="Badges and status lists that carry its signature now. Of a compromised key it falls to 0 while "
        "they are signed anew",
        examples=[1204],
    )
    history: list[KeyEventView]


class KeyRequest(RequestModel):
    """For which kind of signature a new key is made."""

    suite: Suite = Field(examples=["eddsa-rdfc-2022"])


class Compromise(RequestModel):
    """Why a key is struck out, e.g. how it may have become known to others."""

    reason: Annotated[Text, StringConstraints(min_length=1, max_length=500)] = Field(
        examples=["A backup with the wrapping key was lost"]
    )


class JsonWebKey(View):
    """The public half of an elliptic-curve key on P-256 (RFC 7517, RFC 7518), for badges signed as tokens."""

    kty: Literal["EC"] = Field(examples=["EC"])
    crv: Literal["P-256"] = Field(examples=["P-256"])
    x: str = Field(examples=["f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"])
    y: str = Field(examples=["x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"])
    kid: str = Field(examples=["did:web:badges.example.ac.uk#p256-2026-11-5d21aa07"])
    alg: Literal["ES256"] = "ES256"
    use: Literal["sig"] = "sig"


class KeySet(View):
    """A JSON Web Key Set (RFC 7517) with the issuer's public keys."""

    keys: list[JsonWebKey]


@router.get("/v1/signing-keys", operation_id="list_signing_keys")
async def list_signing_keys(session: ReadSession, paging: Paging, credential_issuer: Issuing) -> Page[SigningKeyView]:
    """Operators: the issuer's keys, oldest first, with their history and what still carries their signature."""
    key = SigningKey
    rows, cursor = await paginate(
        session, keys_query(credential_issuer.issuer.did), paging, by=[key.created_at, key.verification_method]
    )
    return page_of(rows, await _viewer(session, rows), cursor)


@router.post(
    "/v1/signing-keys",
    operation_id="create_signing_key",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(NextKeyExists),
)
async def create_signing_key(
    body: KeyRequest, session: Session, caller: CallerOf, credential_issuer: Issuing
) -> SigningKeyView:
    """Operators: make the next key of a suite. It is published at once, and signs once it is activated."""
    return await _view(
        session, await commands.create_signing_key(session, credential_issuer, body.suite, by=caller.name)
    )


@router.put(
    "/v1/signing-keys/{name}/activation",
    operation_id="activate_signing_key",
    responses=error_responses(NotNext, PublishedTooRecently),
)
async def activate_signing_key(
    name: KeyName, session: Session, caller: CallerOf, credential_issuer: Issuing
) -> SigningKeyView:
    """Operators: sign with the next key from now on. The one before retires and stays published."""
    return await _view(session, await commands.activate_signing_key(session, credential_issuer, name, by=caller.name))


@router.put("/v1/signing-keys/{name}/compromise", operation_id="report_key_compromise")
async def report_key_compromise(
    name: KeyName, compromise: Compromise, session: Session, caller: CallerOf, credential_issuer: Issuing
) -> SigningKeyView:
    """Operators: strike a key out, at once and for good. Another signs, and what it signed is signed anew.

    `carriers` says how much is left to sign anew.
    """
    key = await commands.report_compromise(session, credential_issuer, name, by=caller.name, reason=compromise.reason)
    return await _view(session, key)


@router.get(
    "/credentials/jwks.json", operation_id="read_issuer_keys", response_model=KeySet, response_class=KeySetResponse
)
async def read_issuer_keys(request: Request, session: ReadSession, credential_issuer: Issuing) -> Response:
    """The public keys for badges as tokens, as a JSON Web Key Set, for verifiers that read no DID documents.

    Not at `/.well-known/jwks.json`: there the front door publishes the keys of access tokens.
    """
    published = await published_keys(session, credential_issuer.issuer.did)
    keys = [
        JsonWebKey.model_validate({**p256_jwk(key.public_key), "kid": key.verification_method})
        for key in published
        if key.suite == Suite.ES256
    ]
    return conditional(request, KeySet(keys=keys), media_type=KeySetResponse.media_type)


async def _view(session: Session, key: SigningKey) -> SigningKeyView:
    return view_of(key, await _viewer(session, [key]))


async def _viewer(session: Session, rows: Sequence[SigningKey]) -> Callable[[SigningKey], SigningKeyView]:
    methods = [row.verification_method for row in rows]
    history = await history_of(session, methods)
    carriers = {method: await carriers_of(session, method) for method in methods}
    return lambda row: SigningKeyView(
        name=row.verification_method.rpartition("#")[2],
        verification_method=row.verification_method,
        suite=Suite(row.suite),
        state=KeyState(row.state),
        published_at=row.created_at,
        activated_at=row.activated_at,
        retired_at=row.retired_at,
        compromised_at=row.compromised_at,
        carriers=carriers[row.verification_method],
        history=[
            KeyEventView.model_validate(event)
            for event in history
            if event.verification_method == row.verification_method
        ],
    )
