"""Sign transcripts as learner records, each with its own status entry.

Signing takes long, and is done outside transactions: a draft is checked once more before the record is handed out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import CredentialIssuer, StatusListEntry
from credentials.commands import keys, status_entries
from credentials.commands.keys import Signed
from credentials.domain import learner_records
from credentials.domain.documents import NothingSigned, RecordChanging
from credentials.domain.keys import PUBLISHED
from credentials.domain.learner_records import Cover, Part
from credentials.queries.documents import EditionOnFile, latest_transcript, signed_badges
from credentials.queries.issued import live_entry_of_record
from credentials.queries.keys import active_key
from credentials.tables.documents import Edition
from credentials.tables.issued import Badge
from credentials.tables.keys import SigningKey
from openbadges.keys import Signer
from openbadges.signable import instant
from shared.database import advisory_lock
from shared.database import now as now_of

Document = dict[str, Any]  # Any: JSON
JSON = Mapping[str, Any]  # Any: JSON
Transactions = Callable[[], AbstractAsyncContextManager[AsyncSession]]

_TRIES = 5


@dataclass(frozen=True)
class Draft:
    """A record to be signed. `record_id` is the id of what it is a record of: the document itself, or a share."""

    learner_id: UUID
    edition_id: UUID
    record_id: UUID
    status_entry: StatusListEntry
    cover: Cover
    parts: Sequence[Part]
    credits_: Sequence[JSON]
    """The marks and attempts it states."""
    selected: bool = False
    """The learner left some parts out."""


async def transcript_record(
    transactions: Transactions,
    credential_issuer: CredentialIssuer,
    find: Callable[[AsyncSession], Awaitable[EditionOnFile]],
) -> Document:
    """Return the signed record of a transcript's newest edition, for its holder; `find` gives the edition.

    It is stored, and signed anew where a badge inside was signed anew since, or its own key was compromised. Raises
    NothingSigned, RecordChanging, SigningKeyUnreadable and what `find` raises.
    """

    async def draft(session: AsyncSession) -> Draft:
        on_file = await find(session)
        content = on_file.edition.content or {}
        parts = parts_of(content, await signed_badges(session, on_file.document.learner_id))
        status_entry = await draw_status_entry(session, on_file, on_file.document.document_id, parts)
        return Draft(
            on_file.document.learner_id,
            on_file.edition.edition_id,
            on_file.document.document_id,
            status_entry,
            Cover(
                address=credential_issuer.document_url(on_file.document.number),
                subject=f"urn:uuid:{on_file.document.document_id}",
                name=content["name"],
                as_at=content["as_at"],
                status=credential_issuer.status_entry(status_entry),
            ),
            parts,
            content["credits"],
        )

    async def keep(session: AsyncSession, drafted: Draft, record: Document) -> None:
        edition = Edition
        await session.execute(
            update(edition)
            .where(edition.edition_id == drafted.edition_id)
            .values(clr=record, signed_at=now_of(session))
        )

    return await sign_record(transactions, credential_issuer, draft, keep, kept=_kept)


async def sign_record(
    transactions: Transactions,
    credential_issuer: CredentialIssuer,
    draft: Callable[[AsyncSession], Awaitable[Draft]],
    keep: Callable[[AsyncSession, Draft, Document], Awaitable[None]],
    kept: Callable[[AsyncSession, Draft], Awaitable[Document | None]] | None = None,
) -> Document:
    """Draft a record, sign it and keep it; start again where the transcript changed meanwhile.

    `kept` returns a record that was signed before, if it can be used. Raises NothingSigned, RecordChanging,
    SigningKeyUnreadable and what `draft` and `keep` raise.
    """
    for _ in range(_TRIES):
        async with transactions() as session:
            drafted = await draft(session)
            record = None if kept is None else await kept(session, drafted)
            key = await active_key(session, credential_issuer.issuer.did)
            now = now_of(session)
        if record is not None:
            return record
        if key is None:
            raise NothingSigned("none of the badges is signed yet; try again shortly")
        signer = keys.signer_now(credential_issuer, key)
        record, made = await asyncio.to_thread(_sign, drafted, credential_issuer, signer, now)
        async with transactions() as session:
            if await _stands(session, drafted):
                await keys.log_signatures(session, made, now)
                await keep(session, drafted, record)
                return record
    raise RecordChanging("the transcript is changing at this moment; try again shortly")


async def draw_status_entry(
    session: AsyncSession, on_file: EditionOnFile, record_id: UUID, parts: Sequence[Part]
) -> StatusListEntry:
    """Take the advisory lock of the learner, and return the status entry of a record. Raises NothingSigned."""
    if not any(part.badge is not None for part in parts):
        raise NothingSigned("none of the badges is signed yet; try again shortly")
    await advisory_lock(session, "learner", on_file.document.learner_id)
    inside = learner_records.inside_sha256(parts)
    return await status_entries.entry_of_record(session, on_file.edition.edition_id, record_id, inside)


def parts_of(content: JSON, badges: Collection[Badge], only: Collection[str] | None = None) -> list[Part]:
    """Return the lines of a transcript with their badges; with `only`, those credits and awards alone."""
    by_source = {str(badge.credit_id or badge.award_id): badge.document for badge in badges}
    parts = [Part(entry["credit_id"], by_source.get(entry["credit_id"])) for entry in content["credits"]]
    parts += [
        Part(entry["award_id"], by_source.get(entry["award_id"]), frozenset(entry["credit_ids"]))
        for entry in content["awards"]
    ]
    return [part for part in parts if only is None or part.id in only]


def _sign(
    drafted: Draft, credential_issuer: CredentialIssuer, signer: Signer, now: datetime
) -> tuple[Document, list[Signed]]:
    """Sign a drafted record, and what is signed within it. Off the event loop: JSON-LD computes tens of milliseconds a
    badge."""
    made: list[Signed] = []
    parts = list(drafted.parts)
    if drafted.cover.name is None:
        stated = [learner_records.restated(part, drafted.cover, valid_from=instant(now)) for part in parts]
        parts = [
            replace(part, badge=one and credential_issuer.sign(one, signer, now))
            for part, one in zip(parts, stated, strict=True)
        ]
        made += [Signed.document(part.badge) for part in parts if part.badge is not None]
    results = learner_records.results_document(
        credential_issuer.issuer, drafted.cover, valid_from=instant(now), credits_=drafted.credits_
    )
    if results is not None:
        results = credential_issuer.sign(results, signer, now)
        made.append(Signed.document(results))
    unsigned = learner_records.record_document(
        credential_issuer.issuer,
        drafted.cover,
        valid_from=instant(now),
        parts=parts,
        results=results,
        partial=learner_records.is_partial(parts, selected=drafted.selected),
    )
    record = credential_issuer.sign(unsigned, signer, now)
    return record, [*made, Signed.document(record)]


async def _kept(session: AsyncSession, drafted: Draft) -> Document | None:
    """Return the record as it was signed before, if its status entry is the same and its key still published."""
    edition = await session.get_one(Edition, drafted.edition_id, populate_existing=True)
    record = edition.clr
    if record is None or record.get("credentialStatus") != drafted.cover.status:
        return None
    key = await session.get(SigningKey, record["proof"][0]["verificationMethod"])
    return record if key is not None and key.state in PUBLISHED else None


async def _stands(session: AsyncSession, drafted: Draft) -> bool:
    """Take the learner's advisory lock, and return whether the signed draft can be handed out.

    The edition must be the newest, its holder not erased, and the status entry not retired; an entry of an edition that
    is out of date is retired here.
    """
    await advisory_lock(session, "learner", drafted.learner_id)
    newest = await latest_transcript(session, drafted.learner_id)
    held = await live_entry_of_record(session, drafted.edition_id, drafted.record_id)
    if held is None or StatusListEntry(held.list_number, held.list_index) != drafted.status_entry:
        return False
    if newest is None or newest.content is None or newest.edition_id != drafted.edition_id:
        held.retired_at = now_of(session)
        return False
    return True
