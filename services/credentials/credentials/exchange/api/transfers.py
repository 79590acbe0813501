"""Transfers: a learner asks, the partner decides credit by credit, and both see what becomes of it."""

from collections.abc import Callable, Sequence
from typing import Annotated
from uuid import UUID

from pydantic import Field, StringConstraints

from credentials.domain.awards import OnHold
from credentials.domain.people import HolderAnonymised
from credentials.exchange.api.sharing import partner_of
from credentials.exchange.commands import transfers
from credentials.exchange.domain.sharing import Scope, UnknownCredit, pairwise_subject
from credentials.exchange.domain.transfers import (
    AcceptanceOutOfBounds,
    AlreadyRequested,
    CeilingExceeded,
    CreditNotFree,
    CreditsOutOfBounds,
    Decision,
    DecisionIncomplete,
    LineState,
    NotAccepted,
    ProgrammeClosed,
    TransferAlreadyDecided,
    TransferOutcome,
    TransferState,
    suggestion,
)
from credentials.exchange.queries.transfers import credits_accepted, lines_of, programmes_by_id, transfers_query
from credentials.queries.holds import held_among
from credentials.queries.records import on_hold_among
from credentials.tables.facts import Credit
from credentials.tables.transfers import Programme, Transfer, TransferLine
from shared.access import Caller
from shared.database import Unknown, fetch
from shared.paging import paginate
from shared.web import (
    LARGEST,
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

router = Router(tags=["transfers"])

Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
ModuleCode = Annotated[Text, StringConstraints(min_length=1, max_length=40)]
Reason = Annotated[Text, StringConstraints(min_length=1, max_length=1000)]

_EXAMPLE = "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"


class TransferRequest(RequestModel):
    """Credits that a learner asks a partner to count in its degree. The partner sees them until it has decided, and
    those it accepts for as long as it holds them."""

    programme_id: UUID = Field(description="See GET /v1/programmes", examples=[_EXAMPLE])
    credit_ids: frozenset[UUID] = Field(min_length=1, max_length=50, examples=[[_EXAMPLE]])
    with_marks: bool = False
    with_attempts: bool = False
    with_name: bool = True

    def disclosure(self) -> Scope:
        return Scope(
            credit_ids=self.credit_ids,
            with_marks=self.with_marks,
            with_attempts=self.with_attempts,
            with_name=self.with_name,
        )


class LineDecision(RequestModel):
    """A partner's decision on one credit of a transfer."""

    credit_id: UUID = Field(examples=[_EXAMPLE])
    outcome: TransferOutcome = Field(examples=["accept"])
    credits_recognised: int | None = Field(
        default=None, ge=0, le=LARGEST, description="Needed for `partial`; `accept` takes all of it", examples=[15]
    )
    module_code: ModuleCode | None = Field(default=None, description="What it counts as", examples=["DS7001"])
    reason_code: Code = Field(examples=["equivalent"])
    reason: Reason = Field(description="The learner sees it", examples=["Covers the outcomes of DS7001."])

    def as_decision(self) -> Decision:
        return Decision(**self.model_dump())


class TransferDecision(RequestModel):
    """A partner's decision on a transfer: on every credit of it, at once."""

    decisions: list[LineDecision] = Field(min_length=1, max_length=50, description="Every credit of the request")
    accepted_until: Instant | None = Field(
        default=None,
        description="Unless the degree is conferred before, what you accept is the learner's again then; needed where "
        "you accept any",
        examples=["2028-09-30T00:00:00Z"],
    )


class TransferReturn(RequestModel):
    """Why accepted credit is given back to the learner."""

    reason_code: Code = Field(examples=["left_programme"])


class ProgrammeSummary(View):
    """A partner's degree in short; `ceiling_credits` is the most credit it takes in from here."""

    programme_id: UUID = Field(examples=[_EXAMPLE])
    institution: str = Field(examples=["Example University"])
    code: str = Field(examples=["MSC-DS"])
    title: str = Field(examples=["MSc Data Science"])
    ceiling_credits: int = Field(examples=[60])


class SuggestionView(View):
    """The module that a credit would count as, and for how many credits, by the partner's own list."""

    module_code: str = Field(examples=["DS7001"])
    module_title: str = Field(examples=["Statistical Learning"])
    credits: int = Field(examples=[15])


class TransferLineView(View):
    """One credit of a transfer; what the partner decided is null until it has."""

    credit_id: UUID
    course_code: str = Field(examples=["7DS501"])
    course_title: str = Field(examples=["Applied Machine Learning"])
    credits: int = Field(examples=[15])
    state: LineState
    suggestion: SuggestionView | None = Field(description="What the programme's map has for it")
    outcome: TransferOutcome | None
    credits_recognised: int | None
    module_code: str | None
    reason_code: str | None
    reason: str | None


class TransferView(View):
    """A learner's request to count credit in a partner's degree; what has not happened yet is null."""

    transfer_id: UUID = Field(examples=[_EXAMPLE])
    programme: ProgrammeSummary
    state: TransferState
    share_id: UUID = Field(description="The consent it came with")
    holder: str = Field(description="The learner, as this partner knows them", examples=[f"urn:uuid:{_EXAMPLE}"])
    held_credits: int = Field(description="Of this learner's, in this programme already", examples=[15])
    lines: Sequence[TransferLineView] = Field(description="Empty for the partner once a request ended undecided")
    requested_at: Instant
    decide_by: Instant
    decided_at: Instant | None
    accepted_until: Instant | None
    on_hold: bool = Field(
        description="A payment of the learner's or a case is open: nothing is accepted or completed until it is settled"
    )
    closed_at: Instant | None
    closed_reason: str | None


@router.post(
    "/v1/transfers",
    operation_id="request_transfer",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(
        Unknown, HolderAnonymised, ProgrammeClosed, OnHold, UnknownCredit, CreditNotFree, AlreadyRequested
    ),
)
async def request_transfer(body: TransferRequest, session: Session, caller: CallerOf) -> TransferView:
    """Ask that credit be taken into a degree elsewhere. Until it is decided the credit stays free."""
    transfer = await transfers.request_transfer(
        session, caller.own_id, body.programme_id, body.credit_ids, body.disclosure()
    )
    return await _view(session, transfer, by_partner=False)


@router.get("/v1/transfers", operation_id="list_transfers")
async def list_transfers(session: ReadSession, caller: CallerOf, paging: Paging) -> Page[TransferView]:
    """One's own requests; for a partner, those made to it. Newest first."""
    by_partner = caller.admits_partner()
    if by_partner:
        statement = transfers_query(client_id=partner_of(caller))
    else:
        statement = transfers_query(learner_id=caller.own_id)
    rows, cursor = await paginate(session, statement, paging, by=[Transfer.transfer_id], descending=True)
    return page_of(rows, await _viewer(session, rows, by_partner=by_partner), cursor)


@router.get("/v1/transfers/{transfer_id}", operation_id="read_transfer")
async def read_transfer(transfer_id: UUID, session: ReadSession, caller: CallerOf) -> TransferView:
    """Read one request to take credit into a degree elsewhere, with what was decided."""
    transfer = await _seen(session, caller, transfer_id)
    return await _view(session, transfer, by_partner=caller.client_id is not None)


@router.post(
    "/v1/transfers/{transfer_id}/withdrawal",
    operation_id="withdraw_transfer",
    status_code=200,
    dependencies=[Idempotent],
    responses=error_responses(TransferAlreadyDecided),
)
async def withdraw_transfer(transfer_id: UUID, session: Session, caller: CallerOf) -> TransferView:
    """Take an undecided request back; the partner sees nothing more."""
    transfer = await transfers.withdraw_transfer(session, caller.own_id, transfer_id)
    return await _view(session, transfer, by_partner=False)


@router.post(
    "/v1/transfers/{transfer_id}/decision",
    operation_id="decide_transfer",
    status_code=200,
    dependencies=[Idempotent],
    responses=error_responses(
        TransferAlreadyDecided,
        DecisionIncomplete,
        CreditsOutOfBounds,
        CeilingExceeded,
        AcceptanceOutOfBounds,
        OnHold,
        CreditNotFree,
    ),
)
async def decide_transfer(
    transfer_id: UUID, decision: TransferDecision, session: Session, caller: CallerOf
) -> TransferView:
    """Accept, accept in part or refuse each credit, with a reason. What you accept is committed to your programme."""
    transfer = await transfers.decide_transfer(
        session,
        partner_of(caller),
        transfer_id,
        [line.as_decision() for line in decision.decisions],
        decision.accepted_until,
    )
    return await _view(session, transfer, by_partner=True)


@router.post(
    "/v1/transfers/{transfer_id}/completion",
    operation_id="complete_transfer",
    status_code=200,
    dependencies=[Idempotent],
    responses=error_responses(NotAccepted, OnHold),
)
async def complete_transfer(transfer_id: UUID, session: Session, caller: CallerOf) -> TransferView:
    """You conferred the degree: the credit is used up."""
    transfer = await transfers.complete_transfer(session, partner_of(caller), transfer_id)
    return await _view(session, transfer, by_partner=True)


@router.post(
    "/v1/transfers/{transfer_id}/return",
    operation_id="return_transfer",
    status_code=200,
    dependencies=[Idempotent],
    responses=error_responses(NotAccepted),
)
async def return_transfer(
    transfer_id: UUID, returned: TransferReturn, session: Session, caller: CallerOf
) -> TransferView:
    """The learner left the degree: the credit is theirs again."""
    transfer = await transfers.return_transfer(session, partner_of(caller), transfer_id, returned.reason_code)
    return await _view(session, transfer, by_partner=True)


async def _seen(session: Session, caller: Caller, transfer_id: UUID) -> Transfer:
    transfer = await fetch(session, Transfer, transfer_id)
    if caller.admits_partner():
        if transfer.client_id != caller.client_id:
            raise Unknown(f"no transfer {transfer_id}")
    else:
        caller.must_own(transfer.learner_id)
    return transfer


_UNSEEN = (TransferState.WITHDRAWN, TransferState.LAPSED)
_UNDONE = (TransferState.REQUESTED, TransferState.ACCEPTED)


async def _view(session: Session, transfer: Transfer, *, by_partner: bool) -> TransferView:
    return view_of(transfer, await _viewer(session, [transfer], by_partner=by_partner))


async def _viewer(
    session: Session, rows: Sequence[Transfer], *, by_partner: bool
) -> Callable[[Transfer], TransferView]:
    lines = await lines_of(session, [row.transfer_id for row in rows])
    programmes = await programmes_by_id(session, [row.programme_id for row in rows])
    accepted = await credits_accepted(session, [(row.learner_id, row.programme_id) for row in rows])
    undone = {row.learner_id for row in rows if row.state in _UNDONE}
    on_hold = await on_hold_among(session, undone) if undone else set[UUID]()
    unpaid = await held_among(session, {line.credit_id for one in lines.values() for line, _ in one})

    def view(row: Transfer) -> TransferView:
        programme = programmes[row.programme_id]
        shown = [] if by_partner and row.state in _UNSEEN else lines[row.transfer_id]
        return TransferView(
            transfer_id=row.transfer_id,
            programme=ProgrammeSummary.model_validate(programme),
            state=TransferState(row.state),
            share_id=row.share_id,
            holder=pairwise_subject(row.learner_id, row.client_id),
            held_credits=accepted[row.learner_id, row.programme_id],
            lines=[_line(line, credit, programme, row) for line, credit in shown],
            requested_at=row.requested_at,
            decide_by=row.decide_by,
            decided_at=row.decided_at,
            accepted_until=row.accepted_until,
            on_hold=row.state in _UNDONE
            and (row.learner_id in on_hold or any(line.credit_id in unpaid for line, _ in lines[row.transfer_id])),
            closed_at=row.closed_at,
            closed_reason=row.closed_reason,
        )

    return view


def _line(line: TransferLine, credit: Credit, programme: Programme, transfer: Transfer) -> TransferLineView:
    suggested = suggestion(programme.modules["items"], credit.course_version_id, transfer.requested_at)
    return TransferLineView(
        credit_id=line.credit_id,
        course_code=credit.course_code,
        course_title=credit.course_title,
        credits=credit.credits,
        state=LineState(line.state),
        suggestion=None if suggested is None else SuggestionView.model_validate(suggested),
        outcome=None if line.outcome is None else TransferOutcome(line.outcome),
        credits_recognised=line.credits_recognised,
        module_code=line.module_code,
        reason_code=line.reason_code,
        reason=line.reason,
    )
