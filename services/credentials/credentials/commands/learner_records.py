"""Sign transcripts as learner records, each with its own place in a status list.

Signing takes long, and is done outside transactions: what is drafted is looked at once more before it is handed out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.adapters.keys import Signer
from credentials.adapters.notary import Notary, Place
from credentials.commands import keys, places
from credentials.commands.keys import Signed
from credentials.domain import learner_records
from credentials.domain.badges import instant
from credentials.domain.documents import NothingSigned, RecordChanging
from credentials.domain.keys import PUBLISHED
from credentials.domain.learner_records import Cover, Part
from credentials.queries import Shelved
from shared.database import now as now_of
from shared.database import take_turns

Document = dict[str, Any]  # Any: JSON
JSON = Mapping[str, Any]  # Any: JSON
Transactions = Callable[[], AbstractAsyncContextManager[AsyncSession]]

_TRIES = 5


@dataclass(frozen=True)
class Draft:
    """A record to be signed. `record_id` names whose it is: the document's own, or that of a share."""

    learner_id: UUID
    edition_id: UUID
    record_id: UUID
    place: Place
    cover: Cover
    parts: Sequence[Part]
    credits_: Sequence[JSON]
    """The marks and attempts it states."""
    selected: bool = False
    """The learner left some parts out."""


async def transcript_record(
    transactions: Transactions, notary: Notary, find: Callable[[AsyncSession], Awaitable[Shelved]]
) -> Document:
    """The signed record of a transcript's newest edition, for its holder; `find` tells which.

    Kept, and signed anew where a badge inside was signed anew since, or the key it was signed with is compromised.
    Raises NothingSigned, RecordChanging and what `find` raises.
    """

    async def draft(session: AsyncSession) -> Draft:
        shelved = await find(session)
        content = shelved.edition.content or {}
        parts = parts_of(content, await queries.signed_badges(session, shelved.document.learner_id))
        place = await draw_place(session, shelved, shelved.document.document_id, parts)
        return Draft(
            shelved.document.learner_id,
            shelved.edition.edition_id,
            shelved.document.document_id,
            place,
            Cover(
                address=notary.document_url(shelved.document.number),
                subject=f"urn:uuid:{shelved.document.document_id}",
                name=content["name"],
                as_at=content["as_at"],
                status=notary.status_entry(place),
            ),
            parts,
            content["credits"],
        )

    async def keep(session: AsyncSession, drafted: Draft, record: Document) -> None:
        edition = tables.Edition
        await session.execute(
            update(edition)
            .where(edition.edition_id == drafted.edition_id)
            .values(clr=record, signed_at=now_of(session))
        )

    return await sign_record(transactions, notary, draft, keep, kept=_kept)


async def sign_record(
    transactions: Transactions,
    notary: Notary,
    draft: Callable[[AsyncSession], Awaitable[Draft]],
    keep: Callable[[AsyncSession, Draft, Document], Awaitable[None]],
    kept: Callable[[AsyncSession, Draft], Awaitable[Document | None]] | None = None,
) -> Document:
    """Draft a record, sign it and keep it; begun again where the transcript changed meanwhile.

    Raises NothingSigned, RecordChanging and what `draft` and `keep` raise.
    """
    for _ in range(_TRIES):
        async with transactions() as session:
            drafted = await draft(session)
            record = None if kept is None else await kept(session, drafted)
            key = await queries.active_key(session, notary.issuer.did)
            now = now_of(session)
        if record is not None:
            return record
        if key is None:
            raise NothingSigned("none of the badges is signed yet; try again shortly")
        signer = notary.signer(key.verification_method, key.wrapped_key, key.suite)
        record, made = await asyncio.to_thread(_sign, drafted, notary, signer, now)
        async with transactions() as session:
            if await _stands(session, drafted):
                await keys.log_signatures(session, made, now)
                await keep(session, drafted, record)
                return record
    raise RecordChanging("the transcript is changing at this moment; try again shortly")


async def draw_place(session: AsyncSession, shelved: Shelved, record_id: UUID, parts: Sequence[Part]) -> Place:
    """Takes its turn on the learner. Raises NothingSigned."""
    if not any(part.badge is not None for part in parts):
        raise NothingSigned("none of the badges is signed yet; try again shortly")
    await take_turns(session, "learner", shelved.document.learner_id)
    inside = learner_records.inside_sha256(parts)
    return await places.place_of_record(session, shelved.edition.edition_id, record_id, inside)


def parts_of(content: JSON, badges: Collection[tables.Badge], only: Collection[str] | None = None) -> list[Part]:
    """The lines of a transcript with their badges; `only` those credits and awards, where given."""
    by_source = {str(badge.credit_id or badge.award_id): badge.document for badge in badges}
    parts = [Part(entry["credit_id"], by_source.get(entry["credit_id"])) for entry in content["credits"]]
    parts += [
        Part(entry["award_id"], by_source.get(entry["award_id"]), frozenset(entry["credit_ids"]))
        for entry in content["awards"]
    ]
    return [part for part in parts if only is None or part.id in only]


def _sign(drafted: Draft, notary: Notary, signer: Signer, now: datetime) -> tuple[Document, list[Signed]]:
    """JSON-LD takes tens of milliseconds a badge of pure computing."""
    made: list[Signed] = []
    results = learner_records.results_document(
        notary.issuer, drafted.cover, valid_from=instant(now), credits_=drafted.credits_
    )
    if results is not None:
        results = notary.sign(results, signer, now)
        made.append(Signed.document(results))
    unsigned = learner_records.record_document(
        notary.issuer,
        drafted.cover,
        valid_from=instant(now),
        parts=drafted.parts,
        results=results,
        partial=learner_records.is_partial(drafted.parts, selected=drafted.selected),
    )
    record = notary.sign(unsigned, signer, now)
    return record, [*made, Signed.document(record)]


async def _kept(session: AsyncSession, drafted: Draft) -> Document | None:
    """The record as it was signed before, on the same place and by a key that is still named."""
    edition = await session.get_one(tables.Edition, drafted.edition_id, populate_existing=True)
    record = edition.clr
    if record is None or record.get("credentialStatus") != drafted.cover.status:
        return None
    key = await session.get(tables.SigningKey, record["proof"][0]["verificationMethod"])
    return record if key is not None and key.state in PUBLISHED else None


async def _stands(session: AsyncSession, drafted: Draft) -> bool:
    """Whether the edition is still the newest and its place not retired, now that it is our turn; else it is now."""
    await take_turns(session, "learner", drafted.learner_id)
    newest = await queries.latest_transcript(session, drafted.learner_id)
    held = await queries.live_place_of_record(session, drafted.edition_id, drafted.record_id)
    if held is None or Place(held.list_number, held.list_index) != drafted.place:
        return False
    if newest is None or newest.edition_id != drafted.edition_id:
        held.retired_at = now_of(session)
        return False
    return True
