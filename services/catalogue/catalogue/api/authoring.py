"""The operations of catalogue editors: write drafts, publish and withdraw courses, set prices."""

from typing import Annotated
from uuid import UUID

from fastapi import Header, Path
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from catalogue import domain
from catalogue.api.shapes import (
    CourseBadgeView,
    CourseRequest,
    CourseState,
    HoursView,
    InstitutionRequest,
    InstitutionView,
    LearningOutcomeView,
    NewCourseRequest,
    PriceRequest,
    PriceView,
    SkillView,
    SubjectNames,
    SubjectRequest,
    SubjectView,
    UnitView,
    VersionSummary,
    VersionView,
)
from catalogue.commands import courses, reference
from catalogue.queries.rows import draft_of, drafts, text_of, units_of, version_of
from catalogue.tables import CourseVersion, Price
from shared.database import Unknown
from shared.paging import paginate
from shared.web import (
    LARGEST,
    CallerOf,
    Idempotent,
    Page,
    Paging,
    ReadSession,
    Router,
    Session,
    error_responses,
    page_of,
)

router = Router()

_TEXT = (
    domain.NotOfferedAtThatSize,
    domain.HoursOutOfOrder,
    domain.UnitsOutOfOrder,
    domain.OutcomeCodesRepeated,
    domain.UnknownSubject,
    domain.UnknownInstitution,
)
"""Errors about the text of a draft."""


@router.post(
    "/v1/institutions",
    operation_id="create_institution",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(domain.SlugTaken),
)
async def create_institution(new: InstitutionRequest, session: Session) -> InstitutionView:
    """Admit a member of the federation."""
    return InstitutionView.model_validate(await reference.create_institution(session, **new.model_dump()))


@router.post(
    "/v1/subjects",
    operation_id="create_subject",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(
        domain.SlugTaken, domain.AwardNameTaken, domain.AmbiguousAwardName, domain.ReservedAwardName
    ),
)
async def create_subject(new: SubjectRequest, session: Session) -> SubjectView:
    """Open a subject for credit to count in."""
    return SubjectView.model_validate(await reference.create_subject(session, **new.model_dump()))


@router.put(
    "/v1/subjects/{subject_id}/names",
    operation_id="rename_subject",
    responses=error_responses(domain.AwardNameTaken, domain.AmbiguousAwardName, domain.ReservedAwardName),
)
async def rename_subject(subject_id: UUID, names: SubjectNames, session: Session) -> SubjectView:
    """Rename a subject from now on. Credit already awarded keeps the name it was awarded under."""
    subject = await reference.rename_subject(session, subject_id, name=names.name, award_name=names.award_name)
    return SubjectView.model_validate(subject)


@router.post(
    "/v1/courses",
    operation_id="create_course",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(domain.ReservedSlug, domain.SlugTaken, domain.CodeTaken, domain.OtherCurrency, *_TEXT),
)
async def create_course(new: NewCourseRequest, session: Session, caller: CallerOf) -> VersionView:
    """Begin a course with its first draft. `slug_taken` names the course that has the slug."""
    draft = await courses.create_course(
        session,
        slug=new.slug,
        code=new.code,
        module_family=new.module_family or new.code,
        written=new.as_text(),
    )
    if new.price is not None:
        await courses.set_price(session, draft.course_id, new.price.as_text(), by=caller.name)
    return await _view(session, draft)


@router.get("/v1/courses/drafts", operation_id="list_drafts")
async def list_drafts(session: ReadSession, paging: Paging) -> Page[VersionSummary]:
    """Drafts of courses and of new versions, which are not on sale."""
    rows, cursor = await paginate(session, drafts(), paging, by=[CourseVersion.course_version_id])
    return page_of(rows, VersionSummary.model_validate, cursor)


@router.get("/v1/courses/{course_id}/draft", operation_id="read_draft")
async def read_draft(course_id: UUID, session: ReadSession) -> VersionView:
    """The course's draft, with its study text."""
    draft = await draft_of(session, course_id)
    if draft is None:
        raise Unknown("the course has no draft")
    return await _view(session, draft)


@router.put(
    "/v1/courses/{course_id}/draft",
    operation_id="revise_draft",
    responses=error_responses(domain.NoDraft, domain.DraftChanged, *_TEXT),
)
async def revise_draft(
    course_id: UUID,
    content: CourseRequest,
    session: Session,
    if_match: Annotated[
        int | None,
        Header(
            le=LARGEST, description="The `revision` you read; refused where the draft was saved since", examples=[1]
        ),
    ] = None,
) -> VersionView:
    """Replace the draft's text as a whole."""
    draft = await courses.revise_draft(session, course_id, content.as_text(), revision=if_match)
    return await _view(session, draft)


@router.post(
    "/v1/courses/{course_id}/versions",
    operation_id="start_version",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(
        domain.NotPublished, domain.CourseIsWithdrawn, domain.DraftExists, domain.NotOfferedAtThatSize
    ),
)
async def start_version(course_id: UUID, session: Session) -> VersionView:
    """Begin a new version as a copy of the one on sale, which stays on sale until the new one is published."""
    return await _view(session, await courses.start_version(session, course_id))


@router.get("/v1/courses/{course_id}/versions", operation_id="list_versions")
async def list_versions(course_id: UUID, session: ReadSession, paging: Paging) -> Page[VersionSummary]:
    """All versions of a course, the latest first."""
    statement = select(CourseVersion).where(CourseVersion.course_id == course_id)
    rows, cursor = await paginate(session, statement, paging, by=[CourseVersion.version], descending=True)
    return page_of(rows, VersionSummary.model_validate, cursor)


@router.get("/v1/courses/{course_id}/versions/{version}", operation_id="read_version")
async def read_version(
    course_id: UUID, version: Annotated[int, Path(ge=1, le=2**31 - 1, examples=[1])], session: ReadSession
) -> VersionView:
    """One version with its study text, as it was frozen or stands as a draft."""
    return await _view(session, await version_of(session, course_id, version))


@router.post(
    "/v1/courses/{course_id}/publication",
    operation_id="publish_course",
    dependencies=[Idempotent],
    responses=error_responses(
        domain.CourseIsWithdrawn,
        domain.NoDraft,
        domain.NoSubject,
        domain.NoInstitution,
        domain.NoOutcomes,
        domain.NoUnits,
        domain.NoPriceInForce,
        domain.NotOfferedAtThatSize,
    ),
)
async def publish_course(course_id: UUID, session: Session, caller: CallerOf) -> VersionView:
    """Freeze the draft and put it on sale. Refused with what is missing: a subject, an institution, an outcome,
    a unit or a price in force."""
    return await _view(session, await courses.publish_course(session, course_id, by=caller.name))


@router.post(
    "/v1/courses/{course_id}/withdrawal",
    operation_id="withdraw_course",
    dependencies=[Idempotent],
    responses=error_responses(domain.NotPublished, domain.CourseIsWithdrawn),
)
async def withdraw_course(course_id: UUID, session: Session, caller: CallerOf) -> CourseState:
    """Take the course off sale, which is final. Who has bought it goes on studying."""
    return CourseState.model_validate(await courses.withdraw_course(session, course_id, by=caller.name))


@router.post(
    "/v1/courses/{course_id}/prices",
    operation_id="set_price",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(
        domain.CourseIsWithdrawn, domain.OtherCurrency, domain.PriceInThePast, domain.PriceDateTaken
    ),
)
async def set_price(course_id: UUID, new: PriceRequest, session: Session, caller: CallerOf) -> PriceView:
    """Set what the course costs from an instant on, until the next price begins."""
    return PriceView.model_validate(await courses.set_price(session, course_id, new.as_text(), by=caller.name))


@router.get("/v1/courses/{course_id}/prices", operation_id="list_prices")
async def list_prices(course_id: UUID, session: ReadSession, paging: Paging) -> Page[PriceView]:
    """Every price the course had, has and will have, by its beginning."""
    statement = select(Price).where(Price.course_id == course_id)
    rows, cursor = await paginate(session, statement, paging, by=[Price.valid_from])
    return page_of(rows, PriceView.model_validate, cursor)


async def _view(session: AsyncSession, version: CourseVersion) -> VersionView:
    written = await text_of(session, version)
    units = await units_of(session, version.course_version_id)
    return VersionView(
        course_id=version.course_id,
        course_version_id=version.course_version_id,
        version=version.version,
        revision=version.revision,
        created_at=version.created_at,
        published_at=version.published_at,
        title=written.title,
        subject=written.subject,
        institution=written.institution,
        summary=written.summary,
        description=written.description,
        credits=written.credits,
        level=written.level,
        weeks=written.weeks,
        hours_per_week=HoursView(min=written.hours_min, max=written.hours_max),
        prerequisites=written.prerequisites,
        badge=CourseBadgeView(criteria=written.criteria),
        outcomes=[LearningOutcomeView.model_validate(outcome) for outcome in written.outcomes],
        skills=[SkillView.model_validate(skill) for skill in written.skills],
        units=[UnitView.model_validate(unit) for unit in units],
    )
