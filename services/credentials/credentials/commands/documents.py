"""Make out documents: a new edition whenever there is something new to say, and files of them."""

import math
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from credentials import queries, tables
from credentials.commands import places
from credentials.domain import documents, faces, policies, transcripts
from credentials.domain.awards import State, certificate_number
from credentials.domain.badges import instant
from credentials.domain.documents import DocumentKind
from credentials.queries import Newest, Record, Shelved
from shared.database import fetch
from shared.database import now as now_of
from shared.events.credentials import TranscriptIssued
from shared.ids import new_id
from shared.messaging import publish

_AWARDED = (State.CONFERRED, State.SUPERSEDED)


class _Said(NamedTuple):
    """What a document says now. Credit and award are None on a transcript; `number` where it has one already."""

    kind: DocumentKind
    about: UUID | None
    number: str | None
    content: documents.Content


async def issue(session: AsyncSession, record: Record, now: datetime) -> None:
    """Editions of what is new. They name the learner, so they wait until the register has told who that is."""
    person = await session.get(tables.Person, record.learner_id, populate_existing=True)  # it may just have been read
    if person is None:
        return
    held = {(row.kind, row.about): row for row in await queries.newest_editions(session, record.learner_id)}
    news = [(said, held.get((said.kind, said.about))) for said in _all_said(record, person.legal_name)]
    news = [(said, last) for said, last in news if _is_news(said, last)]
    if not news:
        return
    taught = await _places(session, [line.credit for line in record.lines])
    for said, last in news:
        _add(session, record.learner_id, said, last, taught, now)
    if any(said.kind is DocumentKind.TRANSCRIPT and last is not None for said, last in news):
        await places.retire_records(session, record.learner_id, now)


async def issue_to(session: AsyncSession, learner_id: UUID) -> None:
    """After a name was read: whatever is made out to the learner is made out to that name."""
    if await queries.holds_credit(session, learner_id):
        now = now_of(session)
        await issue(session, await queries.record_of(session, learner_id, now), now)


async def are_stale(session: AsyncSession, record: Record) -> bool:
    """Whether a document says something else than the ledger."""
    person = await session.get(tables.Person, record.learner_id)
    if person is None:
        return False
    held = {(row.kind, row.about): row for row in await queries.newest_editions(session, record.learner_id)}
    return any(_is_news(said, held.get((said.kind, said.about))) for said in _all_said(record, person.legal_name))


async def erase(session: AsyncSession, learner_id: UUID) -> None:
    """What named the learner goes, and the nonce with it. Number, version, instant and hash stay for papers."""
    theirs = select(tables.Document.document_id).where(tables.Document.learner_id == learner_id)
    await session.execute(
        update(tables.Edition)
        .where(tables.Edition.document_id.in_(theirs))
        .values(content=None, clr=None, content_sha256="")
    )


async def remember_file(session: AsyncSession, edition: tables.Edition, file: bytes) -> str:
    """Keep the hash of a file before it is handed out, so that it can be told for ours; the hash, in hex."""
    digest = documents.digest(file)
    await session.execute(
        insert(tables.Printing)
        .values(sha256=digest, edition_id=edition.edition_id, printed_at=now_of(session))
        .on_conflict_do_nothing()
    )
    return digest


async def certified(session: AsyncSession, document: tables.Document, edition: tables.Edition) -> documents.Content:
    """What a document certifies, for anybody: no name, no mark, no class. It outlives the erasure of its holder."""
    if document.credit_id is not None:
        credit = await fetch(session, tables.Credit, document.credit_id)
        said = _certified(credit)
        return documents.taught(said, await _places(session, [credit]))
    if document.award_id is not None:
        award = await fetch(session, tables.Award, document.award_id)
        return {
            "title": award.title,
            "credits": award.credits,
            "conferred_at": instant(award.conferred_at) if award.conferred_at else None,
        }
    return {
        "courses": [entry["course_title"] for entry in (edition.content or {}).get("credits", ())],
        "awards": [entry["title"] for entry in (edition.content or {}).get("awards", ())],
    }


async def compare(session: AsyncSession, shelved: Shelved, name: str, honours: str, *, client: str) -> bool:
    """Whether the newest edition is made out to this name, with this class or none.

    One answer for both, so that nobody learns the class who does not know the name.
    Raises DocumentRevoked, DocumentErased, TooManyComparisons.
    """
    documents.check_status(shelved.status)
    content = shelved.edition.content
    if content is None:
        raise documents.DocumentErased("its holder was anonymised; what it said is not kept")
    document, who = await _compared(session, shelved.document.document_id, client)
    is_same = faces.is_printed(shelved.kind, content, name, honours)
    if not is_same:
        _count_wrong(document, who)
    return is_same


async def by_hash(session: AsyncSession, sha256: str, number: str, *, client: str) -> Shelved | None:
    """The edition with this hash among those of the document with this number; what is none counts as a comparison.

    Raises TooManyComparisons.
    """
    shelved = await queries.document_by_number(session, number)
    if shelved is None:
        return None
    document, who = await _compared(session, shelved.document.document_id, client)
    found = await queries.document_by_hash(session, sha256, number)
    if found is None:
        _count_wrong(document, who)
    return found


async def _compared(session: AsyncSession, document_id: UUID, client: str) -> tuple[tables.Document, str]:
    """The document, locked, and as whom it counts this client (an address). Raises TooManyComparisons."""
    document, now = await fetch(session, tables.Document, document_id, lock=True), now_of(session)
    limits = policies.in_force(now).documents
    if document.compared_since is None or not timedelta() <= now - document.compared_since < limits.pause:
        document.wrong_comparisons, document.wrong_by_client, document.compared_since = 0, {}, now
    who = sha256(f"{document_id} {client}".encode()).hexdigest()[:4]
    wait = limits.wait(
        document.wrong_by_client.get(who, 0), document.wrong_comparisons, since=now - document.compared_since
    )
    if wait:
        raise documents.TooManyComparisons(
            f"this document was compared too often, so the paper is not confirmed; try again in {_in_words(wait)}, or "
            "upload its file",
            headers={"Retry-After": str(math.ceil(wait.total_seconds()))},
        )
    return document, who


def _in_words(wait: timedelta) -> str:
    minutes = math.ceil(wait / timedelta(minutes=1))
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def _count_wrong(document: tables.Document, who: str) -> None:
    counted = document.wrong_by_client
    document.wrong_comparisons += 1
    document.wrong_by_client = counted | {who: counted.get(who, 0) + 1}


def _all_said(record: Record, name: str) -> Iterator[_Said]:
    standing = [line.credit for line in record.lines if line.revocation is None]
    awarded = [award for award in record.awards if award.state in _AWARDED]
    titles = {award.award_id: award.title for award in record.awards}
    transcript = transcripts.content(
        str(record.learner_id),
        name,
        [_credit_entry(credit) for credit in standing],
        [_award_entry(award, record, titles) for award in awarded],
    )
    yield _Said(DocumentKind.TRANSCRIPT, None, None, transcript)
    for credit in standing:
        if credit.course_version_id is not None:
            yield _Said(DocumentKind.CERTIFICATE, credit.credit_id, None, {"name": name, **_certified(credit)})
    for award in awarded:
        said = {"name": name, **_award_entry(award, record, titles)}
        yield _Said(DocumentKind.PARCHMENT, award.award_id, award.certificate_number, said)


def _is_news(said: _Said, last: Newest | None) -> bool:
    if last is None:
        return said.kind is not DocumentKind.TRANSCRIPT or not transcripts.is_empty(said.content)
    return last.content_sha256 != documents.said_hash(said.content, last.nonce)


def _add(
    session: AsyncSession,
    learner_id: UUID,
    said: _Said,
    last: Newest | None,
    taught: Mapping[str, str],
    now: datetime,
) -> None:
    if last is None:
        document_id, version = new_id(), 1
        session.add(
            tables.Document(
                document_id=document_id,
                number=said.number or certificate_number(now, secrets.randbits(50)),
                kind=said.kind,
                learner_id=learner_id,
                credit_id=said.about if said.kind is DocumentKind.CERTIFICATE else None,
                award_id=said.about if said.kind is DocumentKind.PARCHMENT else None,
            )
        )
    else:
        document_id, version = last.document_id, last.version + 1
    nonce = documents.new_nonce()
    content = documents.edition(documents.taught(said.content, taught), version, now, nonce)
    edition = tables.Edition(
        edition_id=new_id(),
        document_id=document_id,
        version=version,
        as_at=now,
        content=content,
        content_sha256=documents.said_hash(said.content, nonce),
        sha256=documents.hash_of(content),
    )
    session.add(edition)
    if said.kind is DocumentKind.TRANSCRIPT:
        publish(
            session,
            TranscriptIssued(
                transcript_id=edition.edition_id,
                learner_id=learner_id,
                version=version,
                sha256=edition.sha256,
                as_at=now,
            ),
        )


async def _places(session: AsyncSession, credits_: Iterable[tables.Credit]) -> dict[str, str]:
    """Credit -> the institution at which its course is taught."""
    versions = {
        credit.credit_id: credit.course_version_id for credit in credits_ if credit.course_version_id is not None
    }
    known = await queries.places_taught(session, list(versions.values()))
    return {str(credit_id): known[version] for credit_id, version in versions.items() if version in known}


def _certified(credit: tables.Credit) -> dict[str, Any]:  # Any: JSON
    return {
        "credit_id": str(credit.credit_id),
        "course_code": credit.course_code,
        "course_title": credit.course_title,
        "subject": credit.subject_name,
        "credits": credit.credits,
        "level": credit.level,
        "ratified_at": instant(credit.ratified_at),
    }


def _credit_entry(credit: tables.Credit) -> dict[str, Any]:  # Any: JSON
    return {
        **_certified(credit),
        "source": credit.source,
        "mark": None if credit.mark is None else f"{credit.mark.normalize():f}",
        "attempt": credit.attempt_no,
    }


def _award_entry(award: tables.Award, record: Record, titles: Mapping[UUID, str]) -> dict[str, Any]:  # Any: JSON
    return {
        "award_id": str(award.award_id),
        "title": award.title,
        "level": award.level,
        "credits": award.credits,
        "credit_ids": sorted(map(str, record.allocations.get(award.award_id, ()))),
        "classification": award.classification,
        "mark": award.mark,
        "state": award.state,
        "certificate_number": award.certificate_number,
        "conferred_at": instant(award.conferred_at) if award.conferred_at else None,
        "superseded_at": instant(award.superseded_at) if award.superseded_at else None,
        "superseded_by": titles.get(award.superseded_by) if award.superseded_by else None,
    }
