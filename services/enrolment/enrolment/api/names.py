"""Requests for another name: a learner asks with evidence, a registrar decides."""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field, StringConstraints

from enrolment import queries
from enrolment.api.learners import CertificateName, PersonName
from enrolment.commands import names
from enrolment.domain.learners import EmptyName, NotRegistered, UnfitCharacter
from enrolment.domain.particulars import (
    NameEvidenceMissing,
    NameRequestClosed,
    NameRequestNotDraft,
    NameRequestNotSubmitted,
    NameRequestOpen,
    NameRequestState,
    OwnNameRequest,
    TooMuchNameEvidence,
)
from enrolment.tables import Name, NameEvidence, NameRequest
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
from shared.web.content import Text
from shared.web.files import ATTACHMENT, UPLOAD_ERRORS, FileWork, attachment, file_body, upload_of

router = Router(tags=["names"])

LongText = Annotated[Text, StringConstraints(min_length=1, max_length=5000)]

_EXAMPLE = "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"


class NewNameRequest(RequestModel):
    """The whole name as a learner wants it on documents, and why."""

    family_name: PersonName = Field(examples=["Okonkwo-Reid"])
    given_name: PersonName | None = Field(default=None, examples=["Adaeze"])
    certificate_name: CertificateName | None = Field(
        default=None,
        description="How certificates write the name, in any script, order and words; else given and family name",
    )
    statement: LongText = Field(description="Why, and what the evidence shows", examples=["I married on 3 October."])


class NameDecision(RequestModel):
    """A registrar's decision on a change of name."""

    approved: bool = Field(examples=[True])
    reason: LongText = Field(description="The learner sees it", examples=["The marriage certificate shows it."])


class NameEvidenceView(View):
    """A file that a learner uploaded as evidence of a change of name."""

    evidence_id: UUID = Field(examples=[_EXAMPLE])
    filename: str = Field(examples=["deed.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size: int = Field(description="In bytes", examples=[48211])
    sha256: str = Field(description="Of what was received, in hex")
    received_at: Instant


class BorneName(View):
    """A name in its parts; `certificate_name` is null where certificates write given name, then family name."""

    family_name: str = Field(examples=["Okonkwo"])
    given_name: str | None = Field(examples=["Adaeze"])
    certificate_name: str | None = Field(examples=[None])
    display_name: str = Field(examples=["Adaeze Okonkwo"])


class NameRequestView(View):
    """A learner's request to change the name that stands on documents; what has not happened yet is null."""

    request_id: UUID = Field(examples=[_EXAMPLE])
    learner_id: UUID = Field(examples=[_EXAMPLE])
    family_name: str = Field(examples=["Okonkwo-Reid"])
    given_name: str | None = Field(examples=["Adaeze"])
    certificate_name: str | None = Field(examples=["Okonkwo-Reid Adaeze"])
    statement: str = Field(examples=["I married on 3 October."])
    state: NameRequestState
    created_at: Instant
    submitted_at: Instant | None
    decided_at: Instant | None
    reason: str | None = Field(description="Of the decision", examples=[None])
    name_now: BorneName | None = Field(description="What the learner is called now; gone once they are anonymised")


class NameRequestWithEvidence(NameRequestView):
    """A request to change a name, with its files. Once the learner is anonymised, names, date of birth
    and files are gone."""

    evidence: Sequence[NameEvidenceView]
    name_at_request: BorneName | None = Field(description="What the learner was called when they asked")
    replaced_name: BorneName | None = Field(description="What the approval replaced")
    date_of_birth: date | None = Field(description="As the learner gave it", examples=["1988-05-17"])


@router.post(
    "/v1/name-requests",
    operation_id="open_name_request",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(NotRegistered, EmptyName, UnfitCharacter, NameRequestOpen),
)
async def open_name_request(content: NewNameRequest, session: Session, caller: CallerOf) -> NameRequestWithEvidence:
    """Begin a request for another name; add evidence, then submit it."""
    new_name = names.NewName(**content.model_dump())
    return await _view(session, await names.open_request(session, caller.own_id, new_name))


@router.get("/v1/name-requests", operation_id="list_name_requests")
async def list_name_requests(
    session: ReadSession,
    caller: CallerOf,
    paging: Paging,
    state: Annotated[NameRequestState | None, Query(description="For registrars `submitted`: those to decide")] = None,
) -> Page[NameRequestView]:
    """One's own requests; for a registrar everybody's that were submitted, the oldest first."""
    own = caller.own_id
    statement = queries.name_requests(None if caller.is_staff else own, state)
    rows, cursor = await paginate(session, statement, paging, by=[NameRequest.request_id])
    called = await queries.present_names(session, {row.learner_id for row in rows})
    return page_of(
        rows, lambda row: NameRequestView(**_stated(row), name_now=_borne(called.get(row.learner_id))), cursor
    )


@router.get("/v1/name-requests/{request_id}", operation_id="read_name_request")
async def read_name_request(request_id: UUID, session: ReadSession, caller: CallerOf) -> NameRequestWithEvidence:
    """One's own request; for a registrar anybody's that was submitted."""
    return await _view(session, await _seen(session, caller, request_id))


@router.put(
    "/v1/name-requests/{request_id}/evidence",
    operation_id="add_name_evidence",
    status_code=201,
    openapi_extra=file_body("pdf, png or jpeg"),
    responses=error_responses(NameRequestNotDraft, TooMuchNameEvidence, *UPLOAD_ERRORS),
)
async def add_name_evidence(
    *,
    request_id: UUID,
    filename: Annotated[str, Query(min_length=1, max_length=255, examples=["deed.pdf"])],
    request: Request,
    session: Session,
    caller: CallerOf,
    storage: Annotated[ObjectStorage, resource(ObjectStorage)],
    policy: Annotated[UploadPolicy, resource(UploadPolicy)],
) -> NameEvidenceView:
    """Add a file to a draft; the same bytes again are the same file."""
    asked = await _seen(session, caller, request_id)
    added = await names.add_evidence(session, storage, asked, upload_of(request, filename), policy)
    return NameEvidenceView.model_validate(added)


@router.get(
    "/v1/name-evidence/{evidence_id}",
    operation_id="read_name_evidence",
    response_class=StreamingResponse,
    responses=ATTACHMENT,
)
async def read_name_evidence(
    evidence_id: UUID,
    session: ReadSession,
    caller: CallerOf,
    work: FileWork,
) -> StreamingResponse:
    """A file of one's own request; for a registrar of anybody's that was submitted."""
    evidence = await fetch(session, NameEvidence, evidence_id)
    await _seen(session, caller, evidence.request_id)
    return await attachment(
        session,
        work,
        evidence.storage_key,
        Checked(evidence.sha256, evidence.size),
        name=evidence.filename,
        media_type=evidence.media_type,
    )


@router.post(
    "/v1/name-requests/{request_id}/submission",
    operation_id="submit_name_request",
    dependencies=[Idempotent],
    responses=error_responses(NameRequestNotDraft, NameEvidenceMissing),
)
async def submit_name_request(request_id: UUID, session: Session, caller: CallerOf) -> NameRequestWithEvidence:
    """Hand the request in; from now on it waits for a registrar."""
    request = await _seen(session, caller, request_id, lock=True)
    await names.submit_request(session, request)
    return await _view(session, request)


@router.post(
    "/v1/name-requests/{request_id}/withdrawal",
    operation_id="withdraw_name_request",
    dependencies=[Idempotent],
    responses=error_responses(NameRequestClosed),
)
async def withdraw_name_request(request_id: UUID, session: Session, caller: CallerOf) -> NameRequestWithEvidence:
    """Give a request up before it is decided."""
    request = await _seen(session, caller, request_id, lock=True)
    names.withdraw_request(request)
    return await _view(session, request)


@router.post(
    "/v1/name-requests/{request_id}/decision",
    operation_id="decide_name_request",
    dependencies=[Idempotent],
    responses=error_responses(OwnNameRequest, NameRequestNotSubmitted),
)
async def decide_name_request(
    request_id: UUID, decision: NameDecision, session: Session, caller: CallerOf
) -> NameRequestWithEvidence:
    """Registrars: decide on the evidence. An approved name is borne, and stands on every document, from now on."""
    request = await names.decide_request(
        session, request_id, approved=decision.approved, reason=decision.reason, by=caller.own_id
    )
    return await _view(session, request)


async def _seen(session: Session, caller: Caller, request_id: UUID, *, lock: bool = False) -> NameRequest:
    """Raises Unknown where it is not theirs to see: of a learner what is theirs, of a registrar what was submitted."""
    request = await fetch(session, NameRequest, request_id, lock=lock)
    caller.must_own(request.learner_id)
    if request.learner_id != caller.id and request.submitted_at is None:
        raise Unknown("no such object")
    return request


async def _view(session: Session, request: NameRequest) -> NameRequestWithEvidence:
    evidence = await queries.name_evidence_of(session, request.request_id)
    borne = await queries.names_of_request(session, request)
    return NameRequestWithEvidence(
        **_stated(request),
        evidence=[NameEvidenceView.model_validate(one) for one in evidence],
        name_at_request=_borne(borne.at_request),
        name_now=_borne(borne.now),
        replaced_name=_borne(borne.replaced),
        date_of_birth=borne.date_of_birth,
    )


def _stated(request: NameRequest) -> dict[str, Any]:  # Any: each field's own type
    """What its row holds."""
    return {field: getattr(request, field) for field in NameRequestView.model_fields if field != "name_now"}


def _borne(name: Name | None) -> BorneName | None:
    return None if name is None else BorneName.model_validate(name)
