"""Status lists: opened in time, signed, published whole."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.adapters.notary import Document, Notary
from credentials.commands import keys
from credentials.domain import status_lists
from credentials.domain.keys import KeyState


@dataclass(frozen=True)
class Outdated:
    """A list to be signed anew, with the bits it shall have."""

    number: int
    unsigned: Document
    revoked: int
    valid_until: datetime


async def outdated_lists(session: AsyncSession, notary: Notary, now: datetime) -> list[int]:
    """The numbers of lists whose bits changed, that near their end, that a clock signed which stood ahead, that were
    signed at another address of the platform, or whose key was struck out; opens the next list in time.

    Compared by count, not by time: a revocation may commit after a list that is younger than it.
    """
    revoked = await queries.revoked_counts(session)
    await open_next_list(session)
    key = tables.SigningKey
    lost = set(await session.scalars(select(key.verification_method).where(key.state == KeyState.COMPROMISED)))
    rows = (await session.scalars(select(tables.StatusList).order_by(tables.StatusList.number))).all()
    outdated: list[int] = []
    for row in rows:
        in_force = row.signed_at is not None and row.signed_at <= now
        fresh = in_force and row.valid_until is not None and row.valid_until - now > status_lists.RENEW_BEFORE
        methods = {row.signed_with, row.token_signed_with}
        signed = row.token is not None and lost.isdisjoint(methods) and all(map(notary.is_own_method, methods))
        if fresh and signed and row.revoked == revoked.get(row.number, 0):
            continue
        outdated.append(row.number)
    return outdated


async def read_outdated(session: AsyncSession, number: int, notary: Notary, now: datetime) -> Outdated:
    """One list with the bits it shall have from now on."""
    places = await queries.revoked_places(session, number)
    valid_until = now + status_lists.VALID_FOR
    unsigned = status_lists.status_list_document(
        notary.status_list_url(number),
        notary.issuer.did,
        places,
        valid_from=now - timedelta(seconds=1),  # a verifier's clock may be a little behind ours
        valid_until=valid_until,
        ttl_seconds=status_lists.TTL_SECONDS,
    )
    return Outdated(number, unsigned, len(places), valid_until)


@dataclass(frozen=True)
class SignedList:
    """A list in both its forms, not published yet."""

    outdated: Outdated
    document: Document
    token: str
    made: tuple[keys.Signed, keys.Signed]
    """The signatures of the two."""


def sign_list(one: Outdated, notary: Notary, signers: keys.Signers, now: datetime) -> SignedList:
    """Outside any transaction, off the event loop."""
    document = notary.sign(one.unsigned, signers.proof, now)
    token = notary.status_list_token(document, signers.token)
    made = keys.Signed.document(document), keys.Signed.token(document["id"], token, signers.token)
    return SignedList(one, document, token, made)


async def publish_list(session: AsyncSession, one: SignedList, now: datetime) -> None:
    """Put the new version in the place of the old one, whole and in both forms at once."""
    row = await session.get_one(tables.StatusList, one.outdated.number, with_for_update=True)
    row.document, row.token = orjson.dumps(one.document), one.token
    row.signed_with, row.token_signed_with = (signature.verification_method for signature in one.made)
    row.revoked, row.signed_at, row.valid_until = one.outdated.revoked, now, one.outdated.valid_until
    await keys.log_signatures(session, list(one.made), now)


async def open_next_list(session: AsyncSession) -> None:
    """Half full is full enough: random draws stay quick, and holders stay hidden among many."""
    newest = await session.scalar(select(func.max(tables.StatusList.number))) or 0
    if await queries.places_taken(session, newest) >= status_lists.LENGTH // 2:
        await session.execute(insert(tables.StatusList).values(number=newest + 1).on_conflict_do_nothing())
