"""The issuer's keys: made, published ahead, activated, retired, struck out. Everything done to them is on record."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.domain import keys
from credentials.domain.badges import Due
from credentials.domain.keys import KeyState
from credentials.queries.keys import key_in_state, published_keys
from credentials.tables.issued import Badge
from credentials.tables.keys import KeyEvent, Signature, SigningKey
from openbadges.keys import Signer, Suite
from shared.database import advisory_lock, fetch
from shared.database import now as now_of
from shared.ids import new_id
from shared.secret_box import SecretBoxError, SigningKeyUnreadable

_BATCH = 1000
_ITSELF = "this service"


@dataclass(frozen=True)
class Signers:
    """The signers of the active keys: for embedded proofs, and for tokens."""

    proof: Signer
    token: Signer


async def signers(session: AsyncSession, credential_issuer: CredentialIssuer) -> Signers:
    """Return signers that can be used outside the transaction; keys are made on first use. Raises SecretBoxError."""
    return Signers(
        proof=await _signer(session, credential_issuer, Suite.EDDSA_RDFC_2022),
        token=await _signer(session, credential_issuer, Suite.ES256),
    )


async def _signer(session: AsyncSession, credential_issuer: CredentialIssuer, suite: Suite) -> Signer:
    key = await key_in_state(session, credential_issuer.issuer.did, suite, KeyState.ACTIVE)
    if key is None:
        await advisory_lock(session, "signing key")
        key = await key_in_state(session, credential_issuer.issuer.did, suite, KeyState.ACTIVE)
    if key is None:
        key = await _make(session, credential_issuer, suite, by=_ITSELF, reason="the first")
        await _enter(session, key, KeyState.ACTIVE, by=_ITSELF, reason="the first")
    return credential_issuer.signer(key.verification_method, key.wrapped_key, key.suite)


def signer_now(credential_issuer: CredentialIssuer, key: SigningKey) -> Signer:
    """Return the signer of a document that somebody waits for. Raises SigningKeyUnreadable."""
    try:
        return credential_issuer.signer(key.verification_method, key.wrapped_key, key.suite)
    except SecretBoxError as error:  # `watch_signing_keys` says it to operators
        message = "nothing is signed at the moment: the signing key cannot be read"
        raise SigningKeyUnreadable(message, headers={"Retry-After": "60"}) from error


async def unreadable_keys(session: AsyncSession, credential_issuer: CredentialIssuer) -> list[str]:
    """Return the names of the active and next keys that the wrapping key does not open."""
    closed: list[str] = []
    for key in await published_keys(session, credential_issuer.issuer.did):
        if key.state != KeyState.RETIRED:
            try:
                credential_issuer.signer(key.verification_method, key.wrapped_key, key.suite)
            except SecretBoxError:
                closed.append(key.verification_method.rpartition("#")[2])
    return closed


async def create_signing_key(
    session: AsyncSession, credential_issuer: CredentialIssuer, suite: Suite, *, by: str
) -> SigningKey:
    """Make the next key of a suite, published from now on. Raises NextKeyExists."""
    await advisory_lock(session, "signing key")
    if await key_in_state(session, credential_issuer.issuer.did, suite, KeyState.NEXT) is not None:
        raise keys.NextKeyExists(f"there is a next key for {suite}")
    return await _make(session, credential_issuer, suite, by=by, reason="")


async def activate_signing_key(
    session: AsyncSession, credential_issuer: CredentialIssuer, name: str, *, by: str
) -> SigningKey:
    """Sign with the next key from now on; the one before retires, and stays published. Safe to repeat.

    Raises Unknown, NotNext, PublishedTooRecently.
    """
    await advisory_lock(session, "signing key")
    key = await fetch(session, SigningKey, credential_issuer.verification_method(name), lock=True)
    if key.state != KeyState.ACTIVE:
        keys.check_activation(key.state, key.created_at, now_of(session))
        before = await key_in_state(session, key.did, key.suite, KeyState.ACTIVE)
        if before is not None:
            await _enter(session, before, KeyState.RETIRED, by=by, reason="")
        await _enter(session, key, KeyState.ACTIVE, by=by, reason="")
    return key


async def report_compromise(
    session: AsyncSession, credential_issuer: CredentialIssuer, name: str, *, by: str, reason: str
) -> SigningKey:
    """Strike a key out of the issuer's DID document; another signs from now on. Safe to repeat. Raises Unknown.

    Jobs sign anew what it signed, under the same ids. There is no waiting: the next key takes its place however
    recently it was published, and where there is none one is made.
    """
    await advisory_lock(session, "signing key")
    key = await fetch(session, SigningKey, credential_issuer.verification_method(name), lock=True)
    if key.state == KeyState.COMPROMISED:
        return key
    was = key.state
    await _enter(session, key, KeyState.COMPROMISED, by=by, reason=reason)
    if was == KeyState.ACTIVE:
        successor = await key_in_state(session, key.did, key.suite, KeyState.NEXT)
        if successor is None:
            successor = await _make(session, credential_issuer, Suite(key.suite), by=by, reason="a key was compromised")
        await _enter(session, successor, KeyState.ACTIVE, by=by, reason="a key was compromised")
    return key


async def order_signing_anew(session: AsyncSession, credential_issuer: CredentialIssuer) -> int:
    """Mark the next badges that carry a struck-out key's signature. Returns how many; until it is 0 there are more."""
    badge, key = Badge, SigningKey
    lost = (
        await session.scalars(
            select(key.verification_method).where(
                key.did == credential_issuer.issuer.did, key.state == KeyState.COMPROMISED
            )
        )
    ).all()
    if not lost:
        return 0
    carrying = (
        select(badge.badge_id)
        .where(
            or_(badge.signed_with.in_(lost), badge.token_signed_with.in_(lost)),
            badge.due.is_distinct_from(Due.COMPROMISE),
        )
        .limit(_BATCH)
        .with_for_update(key_share=True, skip_locked=True)  # a learner's badges locked elsewhere are not waited for
    )
    marked = await session.scalars(
        update(badge).where(badge.badge_id.in_(carrying)).values(due=Due.COMPROMISE).returning(badge.badge_id)
    )
    return len(marked.all())


async def log_signatures(session: AsyncSession, signed: list["Signed"], now: datetime) -> None:
    """Log every signature: which key, which credential."""
    if signed:
        rows = [
            {
                "signature_sha256": sha256(one.signature.encode()).digest(),
                "verification_method": one.verification_method,
                "credential_id": one.credential_id,
                "signed_at": now,
            }
            for one in signed
        ]
        # A key signs the same document in the same second with the same signature: that is one, not two.
        await session.execute(insert(Signature).on_conflict_do_nothing(), rows)


@dataclass(frozen=True)
class Signed:
    """A signature that was made: with which key, on which credential."""

    credential_id: str
    verification_method: str
    signature: str
    """The signature as text: `proofValue`, or the last part of a token."""

    @classmethod
    def document(cls, document: Mapping[str, Any]) -> "Signed":  # Any: JSON
        proof = document["proof"][0]
        return cls(document["id"], proof["verificationMethod"], proof["proofValue"])

    @classmethod
    def token(cls, credential_id: str, token: str, signer: Signer) -> "Signed":
        return cls(credential_id, signer.verification_method, token.rpartition(".")[2])


async def _make(
    session: AsyncSession, credential_issuer: CredentialIssuer, suite: Suite, *, by: str, reason: str
) -> SigningKey:
    now = now_of(session)
    algorithm = "ed25519" if suite == Suite.EDDSA_RDFC_2022 else "p256"
    method, made = credential_issuer.new_key(f"{algorithm}-{now:%Y-%m}-{secrets.token_hex(4)}", suite)
    key = SigningKey(
        verification_method=method,
        did=credential_issuer.issuer.did,
        suite=suite,
        public_key=made.public,
        wrapped_key=made.wrapped,
        state=KeyState.NEXT,
        created_at=now,
    )
    session.add(key)
    await _enter(session, key, KeyState.NEXT, by=by, reason=reason)
    return key


async def _enter(session: AsyncSession, key: SigningKey, state: KeyState, *, by: str, reason: str) -> None:
    now = now_of(session)
    key.state = state
    match state:
        case KeyState.ACTIVE:
            key.activated_at = now
        case KeyState.RETIRED:
            key.retired_at = now
        case KeyState.COMPROMISED:
            key.compromised_at = now
        case KeyState.NEXT:
            pass
    session.add(
        KeyEvent(
            event_id=new_id(), verification_method=key.verification_method, state=state, by=by, reason=reason, at=now
        )
    )
    await session.flush()
