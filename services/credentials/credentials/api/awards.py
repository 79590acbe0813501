"""Award options, claims and conferrals."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Annotated, Literal
from uuid import UUID

from fastapi import Query
from pydantic import Field

from credentials.commands import awards
from credentials.domain.awards import (
    AlreadyConferred,
    ClaimLapsed,
    NotClaimed,
    OnHold,
    OwnAward,
    RefusalReason,
    UnderReview,
)
from credentials.domain.credit import Credit
from credentials.domain.options import (
    DifferentTitle,
    NotAvailable,
    NotEligible,
    Option,
    TitleAlreadyHeld,
    WrongSelection,
)
from credentials.domain.people import HolderAnonymised
from credentials.domain.plan_requests import index_of
from credentials.domain.regulations import UnknownLevel
from credentials.queries.records import allocations_of, awards_query, is_on_hold, record_of
from credentials.tables.awards import Award
from shared.database import fetch
from shared.database import now as now_of
from shared.paging import paginate
from shared.web import (
    CallerOf,
    Idempotent,
    Instant,
    Page,
    Paging,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    error_responses,
    page_of,
    view_of,
)
from shared.web.content import Text

router = Router()

_EXAMPLE = "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"
_REASON = "Most of the 60 credits are in Data Science, and at least a quarter is in Management."

State = Literal["claimed", "lapsed", "withdrawn", "refused", "conferred", "superseded", "rescinded"]


class CountedCredit(View):
    """A credit in a selection for an award, held or only supposed."""

    credit_id: UUID | None = Field(description="Null for credit that is only supposed", examples=[_EXAMPLE])
    supposed: int | None = Field(
        default=None, description="The place of a supposed course in the request, from 0", examples=[None]
    )
    subject: str = Field(examples=["Data Science"])
    credits: int = Field(examples=[15])
    mark: str | None = Field(description="Null for credit from elsewhere", examples=["68"])


class OptionView(View):
    """A title open to the learner, with the selection we would make: best marks, then the earliest passes."""

    title: str = Field(examples=["PGCert in Data Science with Management"])
    rule: str = Field(description="Which rule decides the title", examples=["major_minor"])
    reason: str = Field(examples=[_REASON])
    regulations: str = Field(description="The version it can be claimed under", examples=["mc-regs-2026.2"])
    also_under: tuple[str, ...] = Field(
        description="Further versions that give the same title", examples=[["mc-regs-2026.1"]]
    )
    counted: list[CountedCredit]
    left: list[CountedCredit] = Field(description="Credit that stays free")
    mean: str | None = Field(description="Exact credit-weighted mean of the counted marks", examples=["69.75"])
    mark: int | None = Field(description="The mean, half up", examples=[70])
    classification: str = Field(examples=["Distinction"])
    supersedes: list[UUID] = Field(description="Awards whose credit this one would take up", examples=[[]])


class LevelView(View):
    """A level of award (PGCert, PGDip, Master's degree) and every title that can be claimed at it."""

    level: str = Field(examples=["pgcert"])
    options: list[OptionView]


class AwardOptionsView(View):
    """Every title that can be claimed now, found over all ways to choose the credit."""

    as_at: Instant
    on_hold: bool = Field(description="A payment or a case is open: nothing can be claimed until it is settled")
    regulations: list[str] = Field(
        description="The versions one may claim under, the one in force first", examples=[["mc-regs-2026.2"]]
    )
    levels: list[LevelView]


class ClaimRequest(RequestModel):
    """The title a learner claims at a level, and the credit it is to stand on."""

    level: str = Field(max_length=40, examples=["pgcert"])
    title: Text = Field(max_length=1000, description="Exactly as in the options", examples=["PGCert in Data Science"])
    credit_ids: tuple[UUID, ...] | None = Field(
        default=None,
        max_length=100,
        description="Your own selection; without it, the one shown in the options",
        examples=[None],
    )


class AwardView(View):
    """An award of a learner from claim to end; what has not happened yet is null."""

    award_id: UUID = Field(examples=[_EXAMPLE])
    learner_id: UUID = Field(examples=["019a1c2e-7b5a-7c31-9d55-1f0e6f3b2a10"])
    level: str = Field(examples=["pgcert"])
    title: str = Field(examples=["PGCert in Data Science with Management"])
    rule: str = Field(description="Which rule decided the title", examples=["major_minor"])
    reason: str = Field(examples=[_REASON])
    regulations_version: str = Field(examples=["mc-regs-2026.2"])
    credits: int = Field(examples=[60])
    credit_ids: list[UUID] = Field(description="What it stands on", examples=[[_EXAMPLE]])
    mean: str | None = Field(description="Exact credit-weighted mean of the counted marks", examples=["69.75"])
    mark: int | None = Field(description="The mean, half up; null where the award is unclassified", examples=[70])
    classification: str = Field(examples=["Distinction"])
    state: State
    claimed_at: Instant
    reserved_until: Instant = Field(description="The credit is reserved until then, or for good once conferred")
    conferred_at: Instant | None
    certificate_number: str | None = Field(description="Once conferred", examples=["MC-2026-7KQ2M4X9PAT"])
    superseded_by: UUID | None = Field(description="The higher award that took up its credit", examples=[None])
    ended_at: Instant | None = Field(description="When it lapsed, was withdrawn, refused or rescinded")
    end_reason: str | None = Field(description="Why it was refused or rescinded", examples=["misconduct"])
    under_review_since: Instant | None = Field(
        description="Credit it stands on was revoked: a claim is held, a conferred award reviewed (/v1/award-reviews)"
    )


class ClaimRefusalRequest(RequestModel):
    """Why a registrar refuses a claim."""

    reason_code: Literal[
        "identity_not_confirmed", "investigation_open", "fees_outstanding", "claimed_in_error", "credit_revoked"
    ] = Field(examples=["claimed_in_error"])


@router.get("/v1/award-options", operation_id="list_award_options")
async def list_award_options(session: ReadSession, caller: CallerOf) -> AwardOptionsView:
    """What one can claim now, level by level: the named titles first, each with the credit it would count and leave."""
    now = now_of(session)
    record = await record_of(session, caller.own_id, now)
    return AwardOptionsView(
        as_at=now,
        on_hold=await is_on_hold(session, caller.own_id),
        regulations=[version.version for version in record.versions(now)],
        levels=[
            LevelView(level=level, options=[option_view(option) for option in found])
            for level, found in record.options(now).items()
        ],
    )


@router.post(
    "/v1/award-claims",
    operation_id="claim_award",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(
        HolderAnonymised,
        OnHold,
        UnknownLevel,
        NotEligible,
        NotAvailable,
        WrongSelection,
        DifferentTitle,
        TitleAlreadyHeld,
    ),
)
async def claim_award(claim: ClaimRequest, session: Session, caller: CallerOf) -> AwardView:
    """Reserve the credit for an award; the registrar confers it."""
    award = await awards.claim_award(session, caller.own_id, claim.level, claim.title, claim.credit_ids)
    return await _award(session, award)


@router.get("/v1/awards", operation_id="list_awards")
async def list_awards(
    session: ReadSession,
    caller: CallerOf,
    paging: Paging,
    state: Annotated[State | None, Query()] = None,
    learner_id: Annotated[UUID | None, Query(description="For registrars: one learner's")] = None,
) -> Page[AwardView]:
    """One's own awards; for a registrar everybody's, e.g. `state=claimed` for those to confer."""
    whose = learner_id if caller.is_staff else caller.own_id
    if caller.is_staff:
        caller.must_own(caller.own_id)
    statement = awards_query(whose, state)
    rows, next_cursor = await paginate(session, statement, paging, by=(Award.award_id,))
    return page_of(rows, await _viewer(session, rows), next_cursor)


@router.get("/v1/awards/{award_id}", operation_id="read_award")
async def read_award(award_id: UUID, session: ReadSession, caller: CallerOf) -> AwardView:
    """Read one award, with the credit it counts."""
    award = await fetch(session, Award, award_id)
    caller.must_own(award.learner_id)
    return await _award(session, award)


@router.post(
    "/v1/award-claims/{award_id}/conferral",
    operation_id="confer_award",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(OwnAward, NotClaimed, ClaimLapsed, UnderReview, OnHold),
)
async def confer_award(award_id: UUID, session: Session, caller: CallerOf) -> AwardView:
    """Confer a claimed award: certificate number, badge, and any lower award it takes up superseded."""
    return await _award(session, await awards.confer_award(session, award_id, by=caller.own_id))


@router.post(
    "/v1/award-claims/{award_id}/withdrawal",
    operation_id="withdraw_award_claim",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(NotClaimed, ClaimLapsed, AlreadyConferred),
)
async def withdraw_award_claim(award_id: UUID, session: Session, caller: CallerOf) -> AwardView:
    """Take one's claim back before it is conferred; the credit is free at once."""
    caller.must_own((await fetch(session, Award, award_id)).learner_id)
    return await _award(session, await awards.withdraw_claim(session, award_id))


@router.post(
    "/v1/award-claims/{award_id}/refusal",
    operation_id="refuse_award_claim",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(OwnAward, NotClaimed, ClaimLapsed, AlreadyConferred),
)
async def refuse_award_claim(
    award_id: UUID, body: ClaimRefusalRequest, session: Session, caller: CallerOf
) -> AwardView:
    """Do not confer a claim; the learner is sent the reason, and the credit is free again."""
    reason = RefusalReason(body.reason_code)
    return await _award(session, await awards.refuse_claim(session, award_id, reason, by=caller.own_id))


async def _award(session: Session, award: Award) -> AwardView:
    return view_of(award, await _viewer(session, [award]))


async def _viewer(session: Session, awards: Sequence[Award]) -> Callable[[Award], AwardView]:
    stands_on = await allocations_of(session, [award.award_id for award in awards])
    return lambda award: AwardView(
        **{name: getattr(award, name) for name in AwardView.model_fields if name not in ("credit_ids", "mean")},
        credit_ids=sorted(stands_on.get(award.award_id, ())),
        mean=_decimal(award.mean),
    )


def option_view(option: Option) -> OptionView:
    return OptionView(
        title=option.title,
        rule=option.rule,
        reason=option.reason,
        regulations=option.regulations,
        also_under=option.also_under,
        counted=[_counted(credit) for credit in option.selection],
        left=[_counted(credit) for credit in option.left],
        mean=_decimal(None if option.classification.mean is None else str(option.classification.mean)),
        mark=option.classification.mark,
        classification=option.classification.label,
        supersedes=[UUID(award_id) for award_id in option.supersedes],
    )


def _counted(credit: Credit) -> CountedCredit:
    supposed = index_of(credit.id)
    return CountedCredit(
        credit_id=None if supposed is not None else UUID(credit.id),
        supposed=supposed,
        subject=credit.subject or "",
        credits=credit.credits,
        mark=None if credit.mark is None or credit.external else f"{credit.mark.normalize():f}",
    )


def _decimal(fraction: str | None) -> str | None:
    """Return a fraction as people read it, to four places at most."""
    if fraction is None:
        return None
    return f"{float(Fraction(fraction)):.4f}".rstrip("0").rstrip(".")
