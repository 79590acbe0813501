"""A learner's own record: credit and badges."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from sqlalchemy import select

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.adapters.pages import Pages
from credentials.commands import projection
from credentials.domain.awards import State
from credentials.domain.credit import CreditStatus, Source
from credentials.queries.issued import award_states, badge_names, badges_of
from credentials.queries.records import Line, Transferred, pending_of, record_of
from credentials.tables.facts import Result
from credentials.tables.issued import Badge
from credentials.tables.people import Learner
from shared.database import fetch
from shared.database import now as now_of
from shared.paging import paginate
from shared.web import (
    CallerOf,
    DatabaseOf,
    Instant,
    Page,
    Paging,
    ReadSession,
    Router,
    Session,
    View,
    page_of,
    resource,
    view_of,
    views_of,
)

router = Router()

Issuing = Annotated[CredentialIssuer, resource(CredentialIssuer)]
Rendering = Annotated[Pages, resource(Pages)]


_EXAMPLE = "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"


class CreditView(View):
    """A pass. Pending ones were released to the learner and count for nothing until a board ratifies them."""

    credit_id: UUID | None = Field(description="Null while pending", examples=[_EXAMPLE])
    enrolment_id: UUID | None = Field(description="Null for credit recognised from elsewhere", examples=[_EXAMPLE])
    course_id: UUID | None = Field(description="Null for credit recognised from elsewhere", examples=[_EXAMPLE])
    course_code: str | None = Field(examples=["7DS501"])
    course_title: str | None = Field(examples=["Applied Machine Learning"])
    subject: str | None = Field(description="The award name, as at the award of credit", examples=["Data Science"])
    credits: int | None = Field(examples=[15])
    level: int | None = Field(examples=[7])
    mark: Decimal | None = Field(description="Null for credit recognised from elsewhere", examples=["68"])
    source: Literal["internal", "rpl_external"] = Field(description="Whether it was earned here or recognised")
    status: Literal["pending", "ratified", "revoked", "held", "committed", "consumed"] = Field(
        description="Held: what was paid for it went back, and staff decide on it. "
        "Committed: accepted for a degree elsewhere; consumed: that degree was conferred"
    )
    at: Instant = Field(description="When it was released, ratified or revoked")


class BadgeView(View):
    """A learner's badge for one course or one award; `issued_at` is null while it is being signed."""

    badge_id: UUID = Field(examples=[_EXAMPLE])
    name: str | None = Field(examples=["Applied Machine Learning"])
    credit_id: UUID | None = Field(description="Of a course's badge", examples=[_EXAMPLE])
    award_id: UUID | None = Field(description="Of an award's badge", examples=[None])
    status: Literal["being_signed", "valid", "superseded", "revoked"]
    awarded_at: Instant
    issued_at: Instant | None
    credential_url: str | None = Field(
        description="The signed Open Badge 3.0, for wallets and verifiers; null while it is being signed",
        examples=[f"https://badges.example.ac.uk/credentials/{_EXAMPLE}"],
    )
    verification_url: str | None = Field(
        description="A page for people; share this", examples=[f"https://badges.example.ac.uk/verify/{_EXAMPLE}"]
    )


class CreditComparisonView(View):
    """A page of learners whose records were derived anew and compared with those in use."""

    compared: int = Field(description="Learners whose record was derived anew", examples=[100])
    differing: list[UUID] = Field(description="Learners whose record differs; there should be none", examples=[[]])
    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next learners; null at the end", examples=[None]
    )


@router.get("/v1/credits/comparison", operation_id="compare_credit_records")
async def compare_credit_records(session: ReadSession, database: DatabaseOf, paging: Paging) -> CreditComparisonView:
    """Operators: derive badges, titles and documents of the next learners anew from the ledger; name what differs."""
    learner = Learner.learner_id
    learners, cursor = await paginate(session, select(Learner), paging, by=[learner])
    ids = [row.learner_id for row in learners]
    differing = await projection.differing(session, database.transaction, ids)
    return CreditComparisonView(compared=len(ids), differing=differing, next_cursor=cursor)


@router.get("/v1/credits", operation_id="list_credits")
async def list_credits(session: ReadSession, caller: CallerOf) -> Page[CreditView]:
    """All of one's credit, oldest first; at most a few dozen lines, so in one page."""
    record = await record_of(session, caller.own_id, now_of(session))
    pending = await pending_of(session, caller.own_id)
    lines, unreadable = views_of(
        record.lines, lambda line: _credit(line, record.transferred.get(line.credit.credit_id))
    )
    provisional, unreadable_too = views_of(pending, lambda one: _pending(*one))
    items = sorted([*lines, *provisional], key=lambda line: line.at)
    return Page(items=items, unreadable=unreadable + unreadable_too)


@router.get("/v1/badges", operation_id="list_badges")
async def list_badges(session: ReadSession, caller: CallerOf, credential_issuer: Issuing) -> Page[BadgeView]:
    """All of one's badges, of courses and of awards, oldest first; at most a few dozen, so in one page."""
    badges = await badges_of(session, caller.own_id)
    return page_of(badges, await _viewer(session, badges, credential_issuer))


@router.get("/v1/badges/{badge_id}", operation_id="read_badge")
async def read_badge(badge_id: UUID, session: ReadSession, caller: CallerOf, credential_issuer: Issuing) -> BadgeView:
    """Read one badge of a course or an award, in its present version."""
    badge = await fetch(session, Badge, badge_id)
    caller.must_own(badge.learner_id)
    return view_of(badge, await _viewer(session, [badge], credential_issuer))


def _credit(line: Line, transferred: Transferred | None) -> CreditView:
    row, revocation = line.credit, line.revocation
    held = line.hold is not None and transferred is not CreditStatus.CONSUMED
    return CreditView(
        credit_id=row.credit_id,
        enrolment_id=row.enrolment_id,
        course_id=row.course_id,
        course_code=row.course_code,
        course_title=row.course_title,
        subject=row.subject_name,
        credits=row.credits,
        level=row.level,
        mark=row.mark,
        source="rpl_external" if row.source == Source.EXTERNAL else "internal",
        status="revoked" if revocation else "held" if held else transferred.value if transferred else "ratified",
        at=revocation.revoked_at if revocation else row.ratified_at,
    )


def _pending(row: Result, title: str | None) -> CreditView:
    return CreditView(
        credit_id=None,
        enrolment_id=row.enrolment_id,
        course_id=row.course_id,
        course_code=None,
        course_title=title,
        subject=None,
        credits=None,
        level=None,
        mark=row.mark,
        source="internal",
        status="pending",
        at=row.released_at,
    )


async def _viewer(
    session: Session, badges: Sequence[Badge], credential_issuer: CredentialIssuer
) -> Callable[[Badge], BadgeView]:
    names = await badge_names(session, badges)
    states = await award_states(session, badges)
    return lambda badge: BadgeView(
        badge_id=badge.badge_id,
        name=names.get(badge.achievement_id),
        credit_id=badge.credit_id,
        award_id=badge.award_id,
        status=_status(badge, states),
        awarded_at=badge.awarded_at,
        issued_at=badge.issued_at,
        credential_url=credential_issuer.credential_url(badge.badge_id) if badge.issued_at else None,
        verification_url=credential_issuer.verification_url(badge.badge_id) if badge.issued_at else None,
    )


def _status(badge: Badge, states: dict[UUID, str]) -> Literal["being_signed", "valid", "superseded", "revoked"]:
    if badge.revoked_at is not None:
        return "revoked"
    if badge.issued_at is None:
        return "being_signed"
    if badge.award_id is not None and states[badge.award_id] == State.SUPERSEDED:
        return "superseded"
    return "valid"
