"""Requests for another name: a learner asks with evidence, a registrar decides."""

from collections.abc import Sequence
from typing import Annotated
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
from enrolment.tables import NameEvidence, NameRequest
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

router = Router(tags=["names"])

LongText = Annotated[Text, StringConstraints(min_length=1, max_length=5000)]

_EXAMPLE = "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"


class NameRequestContent(Content):
    """The whole name as it is to be."""

    family_name: PersonName = Field(examples=["Okonkwo-Reid"])
    given_name: PersonName | None = Field(default=None, examples=["Adaeze"])
    certificate_name: CertificateName | None = Field(
        default=None,
        description="How certificates write the name, in any script, order and words; else given and family name",
    )
    statement: LongText = Field(description="Why, and what the evidence shows", examples=["I married on 3 October."])


class NameDecision(Content):
    approved: bool = Field(examples=[True])
    reason: LongText = Field(description="The learner sees it", examples=["The marriage certificate shows it."])


class NameEvidenceView(View):
    evidence_id: UUID = Field(examples=[_EXAMPLE])
    filename: str = Field(examples=["deed.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size: int = Field(description="In bytes", examples=[48211])
    sha256: str = Field(description="Of what was received, in hex")
    received_at: Instant


class NameRequestView(View):
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


class NameRequestWithEvidence(NameRequestView):
    evidence: Sequence[NameEvidenceView]


@router.post(
    "/v1/name-requests",
    operation_id="open_name_request",
    status_code=201,
    dependencies=[Idempotent],
    responses=refusals(NotRegistered, EmptyName, UnfitCharacter, NameRequestOpen),
)
async def open_name_request(content: NameRequestContent, session: Session, caller: CallerOf) -> NameRequestWithEvidence:
    """Begin a request for another name; add evidence, then submit it."""
    wish = names.NameWish(**content.model_dump())
    return await _view(session, await names.open_request(session, caller.own_id, wish))


@router.get("/v1/name-requests", operation_id="list_name_requests")
async def list_name_requests(
    session: Session,
    caller: CallerOf,
    paging: Paging,
    state: Annotated[NameRequestState | None, Query(description="For registrars `submitted`: those to decide")] = None,
) -> Page[NameRequestView]:
    """One's own requests; for a registrar everybody's that were submitted, the oldest first."""
    own = caller.own_id
    statement = queries.name_requests(None if caller.is_staff else own, state)
    rows, cursor = await paginate(session, statement, paging, by=[NameRequest.request_id])
    return Page(items=[NameRequestView.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/v1/name-requests/{request_id}", operation_id="read_name_request")
async def read_name_request(request_id: UUID, session: Session, caller: CallerOf) -> NameRequestWithEvidence:
    """One's own request; for a registrar anybody's that was submitted."""
    return await _view(session, await _seen(session, caller, request_id))


@router.put(
    "/v1/name-requests/{request_id}/evidence",
    operation_id="add_name_evidence",
    status_code=201,
    openapi_extra=file_body("pdf, png or jpeg"),
    responses=refusals(NameRequestNotDraft, TooMuchNameEvidence, *UPLOAD_REFUSALS),
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
    session: Session,
    caller: CallerOf,
    storage: Annotated[ObjectStorage, resource(ObjectStorage)],
) -> StreamingResponse:
    """A file of one's own request; for a registrar of anybody's that was submitted."""
    evidence = await fetch(session, NameEvidence, evidence_id)
    await _seen(session, caller, evidence.request_id)
    return await attachment(
        storage, evidence.storage_key, name=evidence.filename, media_type=evidence.media_type, size=evidence.size
    )


@router.post(
    "/v1/name-requests/{request_id}/submission",
    operation_id="submit_name_request",
    dependencies=[Idempotent],
    responses=refusals(NameRequestNotDraft, NameEvidenceMissing),
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
    responses=refusals(NameRequestClosed),
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
    responses=refusals(OwnNameRequest, NameRequestNotSubmitted),
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
    return NameRequestWithEvidence(
        **NameRequestView.model_validate(request).model_dump(),
        evidence=[NameEvidenceView.model_validate(one) for one in evidence],
    )
