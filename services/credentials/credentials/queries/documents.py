"""Documents, their editions, and the files in which they were handed out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, case, exists, func, literal, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from credentials.domain.awards import State
from credentials.domain.documents import DocumentKind, DocumentStatus
from credentials.queries.records import is_in_force
from credentials.tables.awards import Award
from credentials.tables.documents import Document, Edition, Printing
from credentials.tables.facts import Achievement, Credit, Revocation
from credentials.tables.issued import Badge


class Newest(NamedTuple):
    """A learner's document, with what of its newest edition shows whether there is something new to say."""

    document_id: UUID
    kind: DocumentKind
    number: str
    about: UUID | None
    """The credit or the award it certifies; None for a transcript."""
    version: int
    as_at: datetime
    sha256: str
    nonce: str | None


@dataclass(frozen=True)
class EditionOnFile:
    """An edition with its document, the status of what it certifies, and the number of the newest version."""

    document: Document
    edition: Edition
    status: DocumentStatus
    newest: int
    under_review_since: datetime | None = None
    """Since when the award it certifies is under review, because credit it stands on was revoked."""

    @property
    def kind(self) -> DocumentKind:
        return DocumentKind(self.document.kind)

    @property
    def is_newest(self) -> bool:
        return self.edition.version == self.newest


async def newest_editions(session: AsyncSession, learner_id: UUID) -> list[Newest]:
    """Return the newest edition of each of a learner's documents."""
    document, edition = Document, Edition
    statement = (
        select(
            document.document_id,
            document.kind,
            document.number,
            func.coalesce(document.credit_id, document.award_id),
            edition.version,
            edition.as_at,
            edition.sha256,
            edition.content["nonce"].astext,
        )
        .join(edition, edition.document_id == document.document_id)
        .where(document.learner_id == learner_id)
        .ext(distinct_on(document.document_id))
        .order_by(document.document_id, edition.version.desc())
    )
    return [Newest(row[0], DocumentKind(row[1]), *row[2:]) for row in await session.execute(statement)]


async def documents_of(session: AsyncSession, learner_id: UUID) -> list[EditionOnFile]:
    """Return the newest edition of each of a learner's documents, the transcript first, then by what they certify."""
    statement = _editions().where(Document.learner_id == learner_id, _is_newest())
    found = [_on_file(row) for row in await session.execute(statement)]
    order = {kind.value: place for place, kind in enumerate(DocumentKind)}
    return sorted(found, key=lambda one: (order.get(one.document.kind, len(order)), one.document.document_id))


async def name_on_documents(session: AsyncSession, learner_id: UUID) -> str | None:
    """Return the name to which the learner's newest edition is made out; None where there is none, or they were
    anonymised."""
    edition = Edition
    names = (
        select(edition.content["name"].astext)
        .join(Document, Document.document_id == edition.document_id)
        .where(Document.learner_id == learner_id, edition.content.is_not(None))
    )
    return await session.scalar(names.order_by(edition.as_at.desc(), edition.edition_id.desc()).limit(1))


async def document_by_number(session: AsyncSession, number: str, version: int | None = None) -> EditionOnFile | None:
    """Return an edition of the document with this number: the newest, unless a version is named."""
    which = _is_newest() if version is None else Edition.version == version
    row = (await session.execute(_editions().where(Document.number == number, which))).first()
    return None if row is None else _on_file(row)


async def document_by_hash(session: AsyncSession, sha256: str, number: str | None = None) -> EditionOnFile | None:
    """Return the edition that was handed out as a file with this hash, or whose content has it.

    One whose hash can be guessed is found only among those of the document with this `number`.
    """
    printed = select(Printing.edition_id).where(Printing.sha256 == sha256)
    which = Edition.has_nonce if number is None else Document.number == number
    statement = _editions().where(or_(Edition.sha256 == sha256, Edition.edition_id.in_(printed)), which)
    row = (await session.execute(statement)).first()
    return None if row is None else _on_file(row)


async def can_be_guessed(session: AsyncSession, document_id: UUID) -> bool:
    """Return whether an edition has no nonce, so that its hash follows from what can be guessed."""
    edition = Edition
    return bool(await session.scalar(select(exists().where(edition.document_id == document_id, ~edition.has_nonce))))


async def latest_transcript(session: AsyncSession, learner_id: UUID) -> Edition | None:
    """Return the newest edition of the learner's transcript."""
    document, edition = Document, Edition
    return await session.scalar(
        select(edition)
        .join(document, document.document_id == edition.document_id)
        .where(document.learner_id == learner_id, document.kind == DocumentKind.TRANSCRIPT)
        .order_by(edition.version.desc())
        .limit(1)
    )


async def institutions_of(session: AsyncSession, versions: Sequence[UUID]) -> Mapping[UUID, str]:
    """Return the institutions that teach these course versions, by version id, as far as they are known."""
    achievement = Achievement
    statement = select(achievement.achievement_id, achievement.institution).where(
        achievement.achievement_id.in_(versions)
    )
    rows = await session.execute(statement)
    return {version: place for version, place in rows if place is not None}


async def signed_badges(session: AsyncSession, learner_id: UUID) -> Sequence[Badge]:
    """Return the learner's badges that are signed and not revoked."""
    badge = Badge
    statement = (
        select(badge)
        .where(badge.learner_id == learner_id, badge.document.is_not(None), badge.revoked_at.is_(None))
        .order_by(badge.awarded_at, badge.badge_id)
    )
    return (await session.scalars(statement)).all()


async def holds_credit(session: AsyncSession, learner_id: UUID) -> bool:
    """Return whether the learner has any credit, revoked or not."""
    return bool(await session.scalar(select(exists().where(Credit.learner_id == learner_id))))


def _editions() -> Select[Document, Edition, str, int, datetime | None]:
    """Select editions with their documents. The status of the credit or award is derived when asked for."""
    document, edition, other = Document, Edition, aliased(Edition)
    newest = select(func.max(other.version)).where(other.document_id == document.document_id).scalar_subquery()
    revoked = exists().where(Revocation.credit_id == document.credit_id, is_in_force())
    status: ColumnElement[str] = case(
        (or_(revoked, Award.state == State.RESCINDED), literal(DocumentStatus.REVOKED.value)),
        (Award.state == State.SUPERSEDED, literal(DocumentStatus.SUPERSEDED.value)),
        else_=literal(DocumentStatus.VALID.value),
    )
    return (
        select(document, edition, status, newest, Award.under_review_since)
        .join(edition, edition.document_id == document.document_id)
        .outerjoin(Award, Award.award_id == document.award_id)
    )


def _is_newest() -> ColumnElement[bool]:
    later = aliased(Edition)
    return ~exists().where(and_(later.document_id == Edition.document_id, later.version > Edition.version))


def _on_file(row: Row[Document, Edition, str, int, datetime | None]) -> EditionOnFile:
    return EditionOnFile(row[0], row[1], DocumentStatus(row[2]), row[3], row[4])
