"""Status lists: opened in time, signed, published whole."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import CredentialIssuer, Document
from credentials.commands import keys
from credentials.domain import status_lists
from credentials.domain.keys import KeyState
from credentials.queries.issued import indices_taken, revoked_counts, revoked_indices
from credentials.tables.issued import StatusList
from credentials.tables.keys import SigningKey
from openbadges import status_lists as bitstrings


@dataclass(frozen=True)
class Outdated:
    """A list to be signed anew, with the bits it is to have."""

    number: int
    replaces: str | None
    """The token of the version that the new one replaces."""
    unsigned: Document
    revoked: int
    valid_until: datetime


async def outdated_lists(session: AsyncSession, credential_issuer: CredentialIssuer, now: datetime) -> list[int]:
    """Return the numbers of the lists to sign anew, and open the next list in time.

    These are lists whose bits changed, that near their end, that were signed by a clock which ran fast, at another
    address of the platform, or with a key that was struck out. Bits are compared by count, not by time: a revocation
    may commit after a list that is younger than it.
    """
    revoked = await revoked_counts(session)
    await open_next_list(session)
    key = SigningKey
    lost = set(await session.scalars(select(key.verification_method).where(key.state == KeyState.COMPROMISED)))
    rows = (await session.scalars(select(StatusList).order_by(StatusList.number))).all()
    outdated: list[int] = []
    for row in rows:
        in_force = row.signed_at is not None and row.signed_at <= now
        fresh = in_force and row.valid_until is not None and row.valid_until - now > status_lists.RENEW_BEFORE
        methods = {row.signed_with, row.token_signed_with}
        signed = (
            row.token is not None and lost.isdisjoint(methods) and all(map(credential_issuer.is_own_method, methods))
        )
        if fresh and signed and row.revoked == revoked.get(row.number, 0):
            continue
        outdated.append(row.number)
    return outdated


async def read_outdated(
    session: AsyncSession, number: int, credential_issuer: CredentialIssuer, now: datetime
) -> Outdated:
    """Read one list with the bits it is to have from now on."""
    status_list = StatusList
    replaces = await session.scalar(select(status_list.token).where(status_list.number == number))
    revoked = await revoked_indices(session, number)  # read last, so that a list published meanwhile stands
    valid_until = now + status_lists.VALID_FOR
    unsigned = bitstrings.status_list_document(
        credential_issuer.status_list_url(number),
        credential_issuer.issuer.did,
        revoked,
        valid_from=now - timedelta(seconds=1),  # a verifier's clock may be a little behind ours
        valid_until=valid_until,
        ttl_seconds=status_lists.TTL_SECONDS,
    )
    return Outdated(number, replaces, unsigned, len(revoked), valid_until)


@dataclass(frozen=True)
class SignedList:
    """A list that is signed in both its forms, and not published yet."""

    outdated: Outdated
    document: Document
    token: str
    made: tuple[keys.Signed, keys.Signed]
    """The signatures of the two forms."""


def sign_list(one: Outdated, credential_issuer: CredentialIssuer, signers: keys.Signers, now: datetime) -> SignedList:
    """Sign a list in both its forms. Call it outside any transaction and off the event loop."""
    document = credential_issuer.sign(one.unsigned, signers.proof, now)
    token = credential_issuer.status_list_token(document, signers.token)
    made = keys.Signed.document(document), keys.Signed.token(document["id"], token, signers.token)
    return SignedList(one, document, token, made)


async def publish_list(session: AsyncSession, one: SignedList, now: datetime) -> None:
    """Store the new version in place of the one it replaces, whole and in both forms at once.

    Another run may have published meanwhile, perhaps with more bits: then its version stands.
    """
    await keys.log_signatures(session, list(one.made), now)
    row = await session.get_one(
        StatusList, one.outdated.number, with_for_update={"key_share": True}, populate_existing=True
    )
    if row.token != one.outdated.replaces:
        return
    row.document, row.token = orjson.dumps(one.document), one.token
    row.signed_with, row.token_signed_with = (signature.verification_method for signature in one.made)
    row.revoked, row.signed_at, row.valid_until = one.outdated.revoked, now, one.outdated.valid_until


async def open_next_list(session: AsyncSession) -> None:
    """Open another list once the newest is half full, so that random draws stay quick, and holders hidden among
    many."""
    newest = await session.scalar(select(func.max(StatusList.number))) or 0
    if await indices_taken(session, newest) >= bitstrings.LENGTH // 2:
        await session.execute(insert(StatusList).values(number=newest + 1).on_conflict_do_nothing())
