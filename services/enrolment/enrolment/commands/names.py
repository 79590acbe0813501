"""Requests for another name: made with evidence, decided by a registrar. Documents bear a decided name only."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from enrolment import queries
from enrolment.commands.learners import name_of, use_name
from enrolment.domain import learners, particulars
from enrolment.domain.particulars import NameRequestState
from enrolment.tables import Learner, NameEvidence, NameRequest
from shared.access import refuse_own
from shared.database import Unknown, advisory_lock, fetch, now
from shared.emails import enqueue_email
from shared.file_checks import FileKind, plan_check
from shared.ids import new_id
from shared.sessions import despite_contention, outside_transaction
from shared.storage import Storage
from shared.uploads import Received, Upload, UploadPolicy, receive, received_before


@dataclass(frozen=True, slots=True)
class NewName:
    """The whole name that a learner asks for, and why."""

    family_name: str
    given_name: str | None
    certificate_name: str | None
    statement: str


async def open_request(session: AsyncSession, learner_id: UUID, new_name: NewName) -> NameRequest:
    """Open a draft of a request, to which evidence is added. Raises NotRegistered, EmptyName, UnfitCharacter,
    NameRequestOpen."""
    await advisory_lock(session, "learner", learner_id)
    await queries.registered(session, learner_id)
    name = learners.person_name(new_name.family_name, new_name.given_name, None, new_name.certificate_name)
    if await session.scalar(queries.open_name_requests(learner_id)) is not None:
        raise particulars.NameRequestOpen("withdraw the request that is open first")
    request = NameRequest(
        request_id=new_id(),
        learner_id=learner_id,
        family_name=name.family_name,
        given_name=name.given_name,
        certificate_name=name.certificate_name,
        statement=new_name.statement,
        state=NameRequestState.DRAFT,
        created_at=now(session),
    )
    session.add(request)
    await session.flush()
    return request


async def add_evidence(
    session: AsyncSession, storage: Storage, request: NameRequest, upload: Upload, times: UploadPolicy
) -> NameEvidence:
    """Check and store a file of evidence; the same bytes again are the same file, of which the last copy is kept.

    Raises NameRequestNotDraft, TooMuchNameEvidence, and the errors of `shared.file_checks`.
    """
    policy, request_id = particulars.policy(), request.request_id
    _must_be_draft(request)
    name, kind = plan_check(upload.filename, upload.declared_size, policy.file_kinds, policy.longest_file_bytes)
    async with outside_transaction(session):
        received = await receive(
            storage,
            upload.chunks,
            kind,
            policy.longest_file_bytes,
            within=times.longest,
            now=lambda: now(session),
        )
    return await despite_contention(session, lambda: _record(session, request_id, name, kind, received))


async def _record(
    session: AsyncSession, request_id: UUID, name: str, kind: FileKind, received: Received
) -> NameEvidence:
    policy, request = particulars.policy(), await fetch(session, NameRequest, request_id, lock=True)
    _must_be_draft(request)
    held = await queries.name_evidence_of(session, request_id)
    if known := received_before(held, received):
        return known
    if len(held) >= policy.most_files:
        raise particulars.TooMuchNameEvidence(f"a request has {policy.most_files} files at most")
    evidence = NameEvidence(
        evidence_id=new_id(),
        request_id=request_id,
        learner_id=request.learner_id,
        filename=name,
        media_type=kind.media_type,
        size=received.content.size,
        sha256=received.content.sha256,
        storage_key=received.key,
        received_at=received.at,
    )
    session.add(evidence)
    await session.flush()
    return evidence


async def submit_request(session: AsyncSession, request: NameRequest) -> None:
    """Hand a request in for a registrar's decision. Raises NameRequestNotDraft, NameEvidenceMissing."""
    _must_be_draft(request)
    if not await queries.name_evidence_of(session, request.request_id):
        raise particulars.NameEvidenceMissing("add evidence first: a deed, a passport, a marriage certificate")
    request.state, request.submitted_at = NameRequestState.SUBMITTED, now(session)


def withdraw_request(request: NameRequest) -> None:
    """Withdraw a request that is not decided yet. Raises NameRequestClosed."""
    if request.state not in particulars.OPEN:
        raise particulars.NameRequestClosed(f"this request is {request.state}")
    request.state = NameRequestState.WITHDRAWN


async def decide_request(
    session: AsyncSession, request_id: UUID, *, approved: bool, reason: str, by: UUID
) -> NameRequest:
    """Record a registrar's decision on a request; an approved name is the learner's, and on every document, from now
    on.

    Raises Unknown, OwnNameRequest, NameRequestNotSubmitted.
    """
    request = await fetch(session, NameRequest, request_id)
    if request.submitted_at is None:
        raise Unknown(f"no request {request_id}")
    own = particulars.OwnNameRequest("somebody else decides about your own name")
    refuse_own(session, own, request.learner_id, by)
    await advisory_lock(session, "learner", request.learner_id)
    learner = await fetch(session, Learner, request.learner_id, lock=True)
    request = await fetch(session, NameRequest, request_id, lock=True)
    if request.state != NameRequestState.SUBMITTED:
        raise particulars.NameRequestNotSubmitted(f"this request is {request.state}")
    request.state = NameRequestState.APPROVED if approved else NameRequestState.REFUSED
    request.decided_at, request.decided_by, request.reason = now(session), str(by), reason
    if approved:
        used = name_of((await queries.registered(session, learner.learner_id)).name)
        changes = {
            "family_name": request.family_name,
            "given_name": request.given_name,
            "certificate_name": request.certificate_name,
        }
        use_name(session, learner, learners.rename(used, changes), request_id)
    wanted = request.certificate_name or f"{request.given_name or ''} {request.family_name}".strip()
    await enqueue_email(
        session,
        kind="name_request_decided",
        about=request_id,
        to=learner.contact_email,
        subject="Your request for another name was decided",
        body=particulars.decided_in_words(wanted, reason, approved=approved),
    )
    await session.flush()
    return request


def _must_be_draft(request: NameRequest) -> None:
    if request.state != NameRequestState.DRAFT:
        raise particulars.NameRequestNotDraft("what was handed in does not change")
