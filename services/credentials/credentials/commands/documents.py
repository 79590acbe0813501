"""Make out documents: a new edition whenever there is something new to say, and files of editions."""

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

from credentials.commands import status_entries
from credentials.domain import documents, policies, transcripts, view_models
from credentials.domain.awards import State, certificate_number
from credentials.domain.documents import DocumentKind
from credentials.queries.documents import (
    EditionOnFile,
    Newest,
    can_be_guessed,
    document_by_hash,
    document_by_number,
    holds_credit,
    institutions_of,
    newest_editions,
)
from credentials.queries.records import Record, record_of
from credentials.tables.awards import Award
from credentials.tables.documents import Document, Edition, Printing
from credentials.tables.facts import Credit
from credentials.tables.people import Person
from openbadges.signable import instant
from shared.database import fetch
from shared.database import now as now_of
from shared.events.credentials import TranscriptIssued
from shared.ids import new_id
from shared.messaging import publish

CLIENT, _WORD = 4, 12
"""Digits kept of a digest: of a client's so few that many share them, of a wrong word's enough to tell all words
apart."""
_AWARDED = (State.CONFERRED, State.SUPERSEDED)


class _Said(NamedTuple):
    """What a document says now.

    `about` is the credit or award, None on a transcript; `number` is None unless it is given from outside, as an
    award's is.
    """

    kind: DocumentKind
    about: UUID | None
    number: str | None
    content: documents.Content
    taught: documents.Content
    """The content with the institutions."""


async def issue(session: AsyncSession, record: Record, now: datetime) -> None:
    """Make out new editions of the learner's documents that have something new to say.

    Documents name the learner, so they wait until the name was read from the directory.
    """
    person = await session.get(Person, record.learner_id, populate_existing=True)  # perhaps just stored
    if person is None:
        return
    news = await _news(session, record, person.legal_name)
    for said, last in news:
        _add(session, record.learner_id, said, last, now)
    if any(said.kind is DocumentKind.TRANSCRIPT and last is not None for said, last in news):
        await status_entries.retire_records(session, record.learner_id, now)


async def issue_to(session: AsyncSession, learner_id: UUID) -> None:
    """Make out the learner's documents to the name that was just stored."""
    if await holds_credit(session, learner_id):
        now = now_of(session)
        await issue(session, await record_of(session, learner_id, now), now)


async def are_stale(session: AsyncSession, record: Record) -> bool:
    """Return whether a document says something else than the ledger."""
    person = await session.get(Person, record.learner_id)
    if person is None:
        return False
    return bool(await _news(session, record, person.legal_name))


async def erase(session: AsyncSession, learner_id: UUID) -> None:
    """Erase what the learner's editions say, and the nonces; number, version, instant and hash stay, to check paper
    against."""
    theirs = select(Document.document_id).where(Document.learner_id == learner_id)
    await session.execute(
        update(Edition).where(Edition.document_id.in_(theirs)).values(content=None, clr=None, content_sha256="")
    )


async def remember_file(session: AsyncSession, edition: Edition, file: bytes) -> str:
    """Keep the hash of a file before it is handed out, so that it is recognised as ours. Returns the SHA-256 in hex."""
    digest = documents.digest(file)
    await session.execute(
        insert(Printing)
        .values(sha256=digest, edition_id=edition.edition_id, printed_at=now_of(session))
        .on_conflict_do_nothing()
    )
    return digest


async def certified(session: AsyncSession, document: Document, edition: Edition) -> documents.Content:
    """Return what a document certifies, for anybody: no name, no mark, no class.

    Of a credit or an award it outlives the erasure of the holder.
    """
    if document.credit_id is not None:
        credit = await fetch(session, Credit, document.credit_id)
        said = _certified(credit)
        return documents.taught(said, await _institutions(session, [credit]))
    if document.award_id is not None:
        award = await fetch(session, Award, document.award_id)
        return {
            "title": award.title,
            "credits": award.credits,
            "conferred_at": instant(award.conferred_at) if award.conferred_at else None,
        }
    return {
        "courses": [entry["course_title"] for entry in (edition.content or {}).get("credits", ())],
        "awards": [entry["title"] for entry in (edition.content or {}).get("awards", ())],
    }


async def compare(session: AsyncSession, on_file: EditionOnFile, name: str, honours: str, *, client: str) -> bool:
    """Return whether an edition is made out to this name, with this class or none.

    One answer covers both, so that nobody learns the class without knowing the name. Raises DocumentRevoked,
    DocumentErased, TooManyComparisons.
    """
    documents.check_status(on_file.status)
    content = on_file.edition.content
    if content is None:
        raise documents.DocumentErased("its holder was anonymised; what it said is not kept")
    document, who = await _compared(session, on_file.document.document_id, client)
    is_same = view_models.is_printed(on_file.kind, content, name, honours)
    if not is_same:
        _count_wrong(document, who, f"{name} {honours}")
    return is_same


async def by_file(session: AsyncSession, sha256: str, number: str, *, client: str) -> EditionOnFile | None:
    """Return the edition with this hash among those of the document with this number.

    Where the hash of one of them could be guessed, a wrong one counts as a wrong comparison. Raises TooManyComparisons.
    """
    on_file = await document_by_number(session, number)
    if on_file is None:
        return None
    if not await can_be_guessed(session, on_file.document.document_id):
        return await document_by_hash(session, sha256, number)
    document, who = await _compared(session, on_file.document.document_id, client)
    found = await document_by_hash(session, sha256, number)
    if found is None:
        _count_wrong(document, who, sha256)
    return found


async def _compared(session: AsyncSession, document_id: UUID, client: str) -> tuple[Document, str]:
    """Lock a document before a comparison; return it, and the digest it counts this client (an address) by.

    Raises TooManyComparisons.
    """
    document, now = await fetch(session, Document, document_id, lock=True), now_of(session)
    limits = policies.in_force(now).documents
    if document.compared_since is None or not timedelta() <= now - document.compared_since < limits.pause:
        document.wrong_comparisons, document.wrong_by_client, document.compared_since = 0, {}, now
    who = sha256(f"{document_id} {client}".encode()).hexdigest()[:CLIENT]
    theirs = document.wrong_by_client.get(who, 0)
    wait = limits.wait(theirs, document.wrong_comparisons, since=now - document.compared_since)
    if wait:
        by = "from your network" if theirs >= limits.wrong_comparisons else "from many networks"
        raise documents.TooManyComparisons(
            f"this document was compared too often {by}, so the paper is not confirmed; try again "
            f"in {_in_words(wait)}, or upload its file. What became of the document is shown all the while",
            headers={"Retry-After": str(math.ceil(wait.total_seconds()))},
        )
    return document, who


def _in_words(wait: timedelta) -> str:
    minutes = math.ceil(wait / timedelta(minutes=1))
    return "1 minute" if minutes == 1 else f"{minutes} minutes"


def _count_wrong(document: Document, who: str, tried: str) -> None:
    """Count a wrong comparison; the same words again teach nobody anything, and are not counted again."""
    counted = document.wrong_by_client
    words = " ".join(tried.casefold().split())
    known = "=" + sha256(f"{document.document_id} {words}".encode()).hexdigest()[:_WORD]
    if known not in counted:
        document.wrong_comparisons += 1
        document.wrong_by_client = counted | {who: counted.get(who, 0) + 1, known: 1}


async def _news(session: AsyncSession, record: Record, name: str) -> list[tuple[_Said, Newest | None]]:
    """Return what documents say now that their newest editions do not, with those editions where there are any."""
    held = {(row.kind, row.about): row for row in await newest_editions(session, record.learner_id)}
    said = [(one, held.get((one.kind, one.about))) for one in _all_said(record, name)]
    return [(one, last) for one, last in said if _is_news(one, last)]


def _all_said(record: Record, name: str) -> Iterator[_Said]:
    institutions = {
        str(line.credit.credit_id): line.institution for line in record.lines if line.institution is not None
    }

    def said(kind: DocumentKind, about: UUID | None, number: str | None, content: documents.Content) -> _Said:
        return _Said(kind, about, number, content, documents.taught(content, institutions))

    standing = [line.credit for line in record.lines if line.revocation is None]
    awarded = [award for award in record.awards if award.state in _AWARDED]
    titles = {award.award_id: award.title for award in record.awards}
    transcript = transcripts.content(
        str(record.learner_id),
        name,
        [_credit_entry(credit) for credit in standing],
        [_award_entry(award, record, titles) for award in awarded],
    )
    yield said(DocumentKind.TRANSCRIPT, None, None, transcript)
    for credit in standing:
        if credit.course_version_id is not None:
            yield said(DocumentKind.CERTIFICATE, credit.credit_id, None, {"name": name, **_certified(credit)})
    for award in awarded:
        content = {"name": name, **_award_entry(award, record, titles)}
        yield said(DocumentKind.PARCHMENT, award.award_id, award.certificate_number, content)


def _is_news(said: _Said, last: Newest | None) -> bool:
    if last is None:
        return said.kind is not DocumentKind.TRANSCRIPT or not transcripts.is_empty(said.content)
    return last.sha256 != documents.hash_of(documents.edition(said.taught, last.version, last.as_at, last.nonce))


def _add(
    session: AsyncSession,
    learner_id: UUID,
    said: _Said,
    last: Newest | None,
    now: datetime,
) -> None:
    if last is None:
        document_id, version = new_id(), 1
        session.add(
            Document(
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
    content = documents.edition(said.taught, version, now, nonce)
    edition = Edition(
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


async def _institutions(session: AsyncSession, credits_: Iterable[Credit]) -> dict[str, str]:
    """Return the institution that teaches each credit's course, by credit id."""
    versions = {
        credit.credit_id: credit.course_version_id for credit in credits_ if credit.course_version_id is not None
    }
    known = await institutions_of(session, list(versions.values()))
    return {str(credit_id): known[version] for credit_id, version in versions.items() if version in known}


def _certified(credit: Credit) -> dict[str, Any]:  # Any: JSON
    return {
        "credit_id": str(credit.credit_id),
        "course_code": credit.course_code,
        "course_title": credit.course_title,
        "subject": credit.subject_name,
        "credits": credit.credits,
        "level": credit.level,
        "ratified_at": instant(credit.ratified_at),
    }


def _credit_entry(credit: Credit) -> dict[str, Any]:  # Any: JSON
    return {
        **_certified(credit),
        "source": credit.source,
        "mark": None if credit.mark is None else f"{credit.mark.normalize():f}",
        "attempt": credit.attempt_no,
    }


def _award_entry(award: Award, record: Record, titles: Mapping[UUID, str]) -> dict[str, Any]:  # Any: JSON
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
