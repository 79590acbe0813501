"""Recognition of credit from elsewhere: a learner applies with evidence, the registrar decides."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field, StringConstraints

from credentials.domain.people import HolderAnonymised
from credentials.exchange.commands import prior_learning
from credentials.exchange.domain.prior_learning import (
    EvidenceMissing,
    ExternalCeilingExceeded,
    LearnedTooLongAgo,
    NotDraft,
    NotRecognised,
    NotSubmitted,
    NotYetCompleted,
    OwnApplication,
    PriorLearningState,
    SubjectNotInCatalogue,
    TooMuchEvidence,
    Unit,
    UnitsOutOfBounds,
)
from credentials.exchange.queries.prior_learning import credit_of_prior_learning, evidence_of, recognitions_query
from credentials.tables.prior_learning import Evidence, PriorLearning
from shared.access import Caller
from shared.database import Unknown, fetch
from shared.file_checks import Checked
from shared.paging import paginate
from shared.storage import ObjectStorage
from shared.uploads import UploadPolicy
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
    resource,
)
from shared.web.content import Day, Text
from shared.web.files import ATTACHMENT, UPLOAD_ERRORS, FileWork, attachment, file_body, upload_of

router = Router(tags=["recognition"])

Name = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
LongText = Annotated[Text, StringConstraints(min_length=1, max_length=5000)]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Storing = Annotated[ObjectStorage, resource(ObjectStorage)]
Uploading = Annotated[UploadPolicy, resource(UploadPolicy)]

_EXAMPLE = "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"


class PriorLearningRequest(RequestModel):
    """What a learner completed elsewhere and wants recognised as credit."""

    institution: Name = Field(examples=["Westmarch University"])
    title: Name = Field(description="What was completed there", examples=["Statistical Methods"])
    credits: int = Field(ge=1, le=360, description="UK credits (ECTS times two)", examples=[30])
    level: int = Field(ge=1, le=8, description="FHEQ", examples=[7])
    completed_on: Day = Field(examples=["2024-06-30"])
    statement: LongText = Field(description="How it meets what it should count for", examples=["It covered …"])


class RecognisedUnit(RequestModel):
    """One module's worth of credit that prior learning counts for, and the subject it counts in."""

    title: Name = Field(examples=["Statistical Methods I"])
    subject_id: UUID = Field(description="The subject it counts in", examples=[_EXAMPLE])


class PriorLearningDecisionRequest(RequestModel):
    """A registrar's decision on prior learning. One unit is one module's worth of credit; no units refuse it."""

    units: list[RecognisedUnit] = Field(max_length=24)
    reason_code: Code = Field(examples=["equivalent"])
    reason: LongText = Field(description="The learner sees it", examples=["Equivalent in level and outcomes."])


class PriorLearningRevocationRequest(RequestModel):
    """Why credit for prior learning is taken back."""

    reason_code: Code = Field(examples=["evidence_false"])


class EvidenceView(View):
    """A file that a learner uploaded as evidence of prior learning."""

    evidence_id: UUID = Field(examples=[_EXAMPLE])
    filename: str = Field(examples=["transcript.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size: int = Field(description="In bytes", examples=[48211])
    sha256: str = Field(description="Of what was received, in hex")
    received_at: Instant


class PriorLearningView(View):
    """A learner's application to have prior learning recognised; what has not happened yet is null."""

    recognition_id: UUID = Field(examples=[_EXAMPLE])
    learner_id: UUID
    institution: str = Field(examples=["Westmarch University"])
    title: str = Field(examples=["Statistical Methods"])
    credits_claimed: int = Field(examples=[30])
    level_claimed: int = Field(examples=[7])
    completed_on: date
    statement: str
    state: PriorLearningState
    created_at: Instant
    submitted_at: Instant | None
    decided_at: Instant | None
    reason_code: str | None
    reason: str | None
    revoked_at: Instant | None


class PriorLearningWithEvidence(PriorLearningView):
    """An application with its files, and the credit it led to; there is none unless it was recognised."""

    evidence: Sequence[EvidenceView]
    credit_ids: Sequence[UUID] = Field(description="The ledger lines it led to")


@router.post(
    "/v1/recognitions",
    operation_id="open_recognition",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(HolderAnonymised, NotYetCompleted, LearnedTooLongAgo),
)
async def open_recognition(body: PriorLearningRequest, session: Session, caller: CallerOf) -> PriorLearningWithEvidence:
    """Begin an application; add evidence, then submit it."""
    claim = prior_learning.PriorLearningClaim(**body.model_dump())
    return await _view(session, await prior_learning.open_application(session, caller.own_id, claim))


@router.get("/v1/recognitions", operation_id="list_recognitions")
async def list_recognitions(
    session: ReadSession,
    caller: CallerOf,
    paging: Paging,
    state: Annotated[
        PriorLearningState | None, Query(description="For registrars, e.g. `submitted`: those to decide")
    ] = None,
) -> Page[PriorLearningView]:
    """One's own applications; for a registrar everybody's."""
    learner_id = None if caller.is_staff else caller.own_id
    caller.must_own(caller.own_id)
    statement = recognitions_query(learner_id, state)
    if caller.is_staff:
        statement = statement.where(PriorLearning.submitted_at.is_not(None))
    rows, cursor = await paginate(session, statement, paging, by=[PriorLearning.recognition_id])
    return page_of(rows, PriorLearningView.model_validate, cursor)


@router.get("/v1/recognitions/{recognition_id}", operation_id="read_recognition")
async def read_recognition(recognition_id: UUID, session: ReadSession, caller: CallerOf) -> PriorLearningWithEvidence:
    """Read an application for prior learning, with its evidence and decision."""
    return await _view(session, await _own(session, caller, recognition_id))


@router.put(
    "/v1/recognition-uploads/{recognition_id}",
    operation_id="add_recognition_file",
    status_code=201,
    openapi_extra=file_body("pdf, png or jpeg"),
    responses=error_responses(HolderAnonymised, NotDraft, TooMuchEvidence, *UPLOAD_ERRORS),
)
async def add_recognition_file(
    *,
    recognition_id: UUID,
    filename: Annotated[str, Query(min_length=1, max_length=255, examples=["transcript.pdf"])],
    request: Request,
    session: Session,
    caller: CallerOf,
    storage: Storing,
    policy: Uploading,
) -> EvidenceView:
    """Add a file to a draft, to be read at `/v1/recognition-files`; the same bytes again are the same file."""
    application = await _own(session, caller, recognition_id)
    upload = upload_of(request, filename)
    return EvidenceView.model_validate(await prior_learning.add_evidence(session, storage, application, upload, policy))


@router.get(
    "/v1/recognition-files/{evidence_id}",
    operation_id="read_recognition_file",
    response_class=StreamingResponse,
    responses=ATTACHMENT,
)
async def read_recognition_file(
    evidence_id: UUID, session: ReadSession, caller: CallerOf, work: FileWork
) -> StreamingResponse:
    """A file of one's own application; for a registrar of anybody's."""
    evidence = await fetch(session, Evidence, evidence_id)
    await _own(session, caller, evidence.recognition_id)
    return await attachment(
        session,
        work,
        evidence.storage_key,
        Checked(evidence.sha256, evidence.size),
        name=evidence.filename,
        media_type=evidence.media_type,
    )


@router.post(
    "/v1/recognitions/{recognition_id}/submission",
    operation_id="submit_recognition",
    status_code=200,
    dependencies=[Idempotent],
    responses=error_responses(NotDraft, EvidenceMissing),
)
async def submit_recognition(recognition_id: UUID, session: Session, caller: CallerOf) -> PriorLearningWithEvidence:
    """Hand the application in; it does not change from then on."""
    application = await _own(session, caller, recognition_id, lock=True)
    await prior_learning.submit_application(session, application)
    return await _view(session, application)


@router.post(
    "/v1/recognitions/{recognition_id}/withdrawal",
    operation_id="withdraw_recognition",
    status_code=200,
    dependencies=[Idempotent],
    responses=error_responses(NotSubmitted),
)
async def withdraw_recognition(recognition_id: UUID, session: Session, caller: CallerOf) -> PriorLearningWithEvidence:
    """Give an application for prior learning up before it is decided."""
    application = await _own(session, caller, recognition_id, lock=True)
    prior_learning.withdraw_application(application)
    return await _view(session, application)


@router.post(
    "/v1/recognitions/{recognition_id}/decision",
    operation_id="decide_recognition",
    status_code=200,
    dependencies=[Idempotent],
    responses=error_responses(
        OwnApplication, NotSubmitted, UnitsOutOfBounds, ExternalCeilingExceeded, SubjectNotInCatalogue
    ),
)
async def decide_recognition(
    recognition_id: UUID, decision: PriorLearningDecisionRequest, session: Session, caller: CallerOf
) -> PriorLearningWithEvidence:
    """Registrars: recognise module by module, each under a subject and without a mark, or refuse."""
    because = {"reason_code": decision.reason_code, "reason": decision.reason}
    if decision.units:
        units = [Unit(unit.title, unit.subject_id) for unit in decision.units]
        application = await prior_learning.recognise(session, recognition_id, units, **because, by=caller.own_id)
    else:
        application = await prior_learning.refuse(session, recognition_id, **because, by=caller.own_id)
    return await _view(session, application)


@router.post(
    "/v1/recognitions/{recognition_id}/revocation",
    operation_id="revoke_recognition",
    status_code=200,
    dependencies=[Idempotent],
    responses=error_responses(OwnApplication, NotRecognised),
)
async def revoke_recognition(
    recognition_id: UUID, revocation: PriorLearningRevocationRequest, session: Session, caller: CallerOf
) -> PriorLearningWithEvidence:
    """Registrars: take the credit back; an award that stands on it goes to review."""
    application = await prior_learning.revoke(
        session, recognition_id, reason_code=revocation.reason_code, by=caller.own_id
    )
    return await _view(session, application)


async def _own(session: Session, caller: Caller, recognition_id: UUID, *, lock: bool = False) -> PriorLearning:
    application = await fetch(session, PriorLearning, recognition_id, lock=lock)
    caller.must_own(application.learner_id)
    if application.submitted_at is None and application.learner_id != caller.id:
        raise Unknown(f"no application {recognition_id}")  # a draft is its author's, withdrawn or not
    return application


async def _view(session: Session, application: PriorLearning) -> PriorLearningWithEvidence:
    files = await evidence_of(session, application.recognition_id)
    credits_ = await credit_of_prior_learning(session, application.recognition_id)
    return PriorLearningWithEvidence(
        **PriorLearningView.model_validate(application).model_dump(),
        evidence=[EvidenceView.model_validate(row) for row in files],
        credit_ids=[credit.credit_id for credit in credits_],
    )
