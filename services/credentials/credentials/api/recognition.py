"""Recognition of credit from elsewhere: a learner applies with evidence, the registrar decides."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field, StringConstraints

from credentials import queries, tables
from credentials.commands import recognition
from credentials.domain.people import HolderAnonymised
from credentials.domain.recognition import (
    EvidenceMissing,
    ExternalCeilingExceeded,
    LearnedTooLongAgo,
    NotDraft,
    NotRecognised,
    NotSubmitted,
    NotYetCompleted,
    OwnApplication,
    RecognitionState,
    SubjectNotInCatalogue,
    TooMuchEvidence,
    Unit,
    UnitsOutOfBounds,
)
from shared.access import Caller
from shared.database import Unknown, fetch
from shared.storage import ObjectStorage
from shared.uploads import UploadPolicy
from shared.web import (
    CallerOf,
    Content,
    Idempotent,
    Instant,
    Page,
    Paging,
    Router,
    Session,
    View,
    paginate,
    refusals,
    resource,
)
from shared.web.content import Text
from shared.web.files import ATTACHMENT, UPLOAD_REFUSALS, attachment, file_body, upload_of

router = Router(tags=["recognition"])

Name = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
LongText = Annotated[Text, StringConstraints(min_length=1, max_length=5000)]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Storing = Annotated[ObjectStorage, resource(ObjectStorage)]
Uploading = Annotated[UploadPolicy, resource(UploadPolicy)]

_EXAMPLE = "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"


class RecognitionWish(Content):
    institution: Name = Field(examples=["Westmarch University"])
    title: Name = Field(description="What was completed there", examples=["Statistical Methods"])
    credits: int = Field(ge=1, le=360, description="UK credits (ECTS times two)", examples=[30])
    level: int = Field(ge=1, le=8, description="FHEQ", examples=[7])
    completed_on: date = Field(examples=["2024-06-30"])
    statement: LongText = Field(description="How it meets what it should count for", examples=["It covered …"])


class RecognisedUnit(Content):
    title: Name = Field(examples=["Statistical Methods I"])
    subject_id: UUID = Field(description="The subject it stacks in", examples=[_EXAMPLE])


class RecognitionDecision(Content):
    """One unit is one module's worth of credit; none refuses the application."""

    units: list[RecognisedUnit] = Field(max_length=24)
    reason_code: Code = Field(examples=["equivalent"])
    reason: LongText = Field(description="The learner sees it", examples=["Equivalent in level and outcomes."])


class RecognitionRevocation(Content):
    reason_code: Code = Field(examples=["evidence_false"])


class EvidenceView(View):
    evidence_id: UUID = Field(examples=[_EXAMPLE])
    filename: str = Field(examples=["transcript.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size: int = Field(description="In bytes", examples=[48211])
    sha256: str = Field(description="Of what was received, in hex")
    received_at: Instant


class RecognitionView(View):
    recognition_id: UUID = Field(examples=[_EXAMPLE])
    learner_id: UUID
    institution: str = Field(examples=["Westmarch University"])
    title: str = Field(examples=["Statistical Methods"])
    credits_claimed: int = Field(examples=[30])
    level_claimed: int = Field(examples=[7])
    completed_on: date
    statement: str
    state: RecognitionState
    created_at: Instant
    submitted_at: Instant | None
    decided_at: Instant | None
    reason_code: str | None
    reason: str | None
    revoked_at: Instant | None


class RecognitionWithEvidence(RecognitionView):
    evidence: Sequence[EvidenceView]
    credit_ids: Sequence[UUID] = Field(description="The ledger lines it led to")


@router.post(
    "/v1/recognitions",
    operation_id="open_recognition",
    status_code=201,
    dependencies=[Idempotent],
    responses=refusals(HolderAnonymised, NotYetCompleted, LearnedTooLongAgo),
)
async def open_recognition(wish: RecognitionWish, session: Session, caller: CallerOf) -> RecognitionWithEvidence:
    """Begin an application; add evidence, then submit it."""
    claim = recognition.Claim(**wish.model_dump())
    return await _view(session, await recognition.open_application(session, caller.own_id, claim))


@router.get("/v1/recognitions", operation_id="list_recognitions")
async def list_recognitions(
    session: Session,
    caller: CallerOf,
    paging: Paging,
    state: Annotated[
        RecognitionState | None, Query(description="For registrars, e.g. `submitted`: those to decide")
    ] = None,
) -> Page[RecognitionView]:
    """One's own applications; for a registrar everybody's."""
    learner_id = None if caller.is_staff else caller.own_id
    caller.must_own(caller.own_id)
    statement = queries.recognitions_query(learner_id, state)
    if caller.is_staff:
        statement = statement.where(tables.Recognition.state != RecognitionState.DRAFT)
    rows, cursor = await paginate(session, statement, paging, by=[tables.Recognition.recognition_id])
    return Page(items=[RecognitionView.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/v1/recognitions/{recognition_id}", operation_id="read_recognition")
async def read_recognition(recognition_id: UUID, session: Session, caller: CallerOf) -> RecognitionWithEvidence:
    return await _view(session, await _own(session, caller, recognition_id))


@router.put(
    "/v1/recognition-uploads/{recognition_id}",
    operation_id="add_recognition_file",
    status_code=201,
    openapi_extra=file_body("pdf, png or jpeg"),
    responses=refusals(HolderAnonymised, NotDraft, TooMuchEvidence, *UPLOAD_REFUSALS),
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
    return EvidenceView.model_validate(await recognition.add_evidence(session, storage, application, upload, policy))


@router.get(
    "/v1/recognition-files/{evidence_id}",
    operation_id="read_recognition_file",
    response_class=StreamingResponse,
    responses=ATTACHMENT,
)
async def read_recognition_file(
    evidence_id: UUID, session: Session, caller: CallerOf, storage: Storing
) -> StreamingResponse:
    """A file of one's own application; for a registrar of anybody's."""
    evidence = await fetch(session, tables.Evidence, evidence_id)
    caller.must_own(evidence.learner_id)
    return await attachment(
        storage, evidence.storage_key, name=evidence.filename, media_type=evidence.media_type, size=evidence.size
    )


@router.post(
    "/v1/recognitions/{recognition_id}/submission",
    operation_id="submit_recognition",
    status_code=200,
    dependencies=[Idempotent],
    responses=refusals(NotDraft, EvidenceMissing),
)
async def submit_recognition(recognition_id: UUID, session: Session, caller: CallerOf) -> RecognitionWithEvidence:
    """Hand the application in; it does not change from then on."""
    application = await _own(session, caller, recognition_id, lock=True)
    await recognition.submit_application(session, application)
    return await _view(session, application)


@router.post(
    "/v1/recognitions/{recognition_id}/withdrawal",
    operation_id="withdraw_recognition",
    status_code=200,
    dependencies=[Idempotent],
    responses=refusals(NotSubmitted),
)
async def withdraw_recognition(recognition_id: UUID, session: Session, caller: CallerOf) -> RecognitionWithEvidence:
    application = await _own(session, caller, recognition_id, lock=True)
    recognition.withdraw_application(application)
    return await _view(session, application)


@router.post(
    "/v1/recognitions/{recognition_id}/decision",
    operation_id="decide_recognition",
    status_code=200,
    dependencies=[Idempotent],
    responses=refusals(OwnApplication, NotSubmitted, UnitsOutOfBounds, ExternalCeilingExceeded, SubjectNotInCatalogue),
)
async def decide_recognition(
    recognition_id: UUID, decision: RecognitionDecision, session: Session, caller: CallerOf
) -> RecognitionWithEvidence:
    """Registrars: recognise module by module, each under a subject and without a mark, or refuse."""
    because = {"reason_code": decision.reason_code, "reason": decision.reason}
    if decision.units:
        units = [Unit(unit.title, unit.subject_id) for unit in decision.units]
        application = await recognition.recognise(session, recognition_id, units, **because, by=caller.own_id)
    else:
        application = await recognition.refuse(session, recognition_id, **because, by=caller.own_id)
    return await _view(session, application)


@router.post(
    "/v1/recognitions/{recognition_id}/revocation",
    operation_id="revoke_recognition",
    status_code=200,
    dependencies=[Idempotent],
    responses=refusals(OwnApplication, NotRecognised),
)
async def revoke_recognition(
    recognition_id: UUID, revocation: RecognitionRevocation, session: Session, caller: CallerOf
) -> RecognitionWithEvidence:
    """Registrars: take the credit back; an award that stands on it goes to review."""
    application = await recognition.revoke(
        session, recognition_id, reason_code=revocation.reason_code, by=caller.own_id
    )
    return await _view(session, application)


async def _own(session: Session, caller: Caller, recognition_id: UUID, *, lock: bool = False) -> tables.Recognition:
    application = await fetch(session, tables.Recognition, recognition_id, lock=lock)
    caller.must_own(application.learner_id)
    if application.state == RecognitionState.DRAFT and application.learner_id != caller.id:
        raise Unknown(f"no application {recognition_id}")  # a draft is its author's
    return application


async def _view(session: Session, application: tables.Recognition) -> RecognitionWithEvidence:
    files = await queries.evidence_of(session, application.recognition_id)
    credits_ = await queries.credit_of_recognition(session, application.recognition_id)
    return RecognitionWithEvidence(
        **RecognitionView.model_validate(application).model_dump(),
        evidence=[EvidenceView.model_validate(row) for row in files],
        credit_ids=[credit.credit_id for credit in credits_],
    )
