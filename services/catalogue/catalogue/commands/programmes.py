"""Commands on partners' degree programmes and their module maps: which course version counts as which module."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from catalogue import domain
from catalogue.commands.writing import write
from catalogue.queries.programmes import module_text, modules_of, present_map
from catalogue.tables import CourseVersion, Programme, ProgrammeMap, ProgrammeModule
from shared.clock import instant_after
from shared.database import fetch, now
from shared.events.catalogue import ProgrammeModule as ModuleFact
from shared.events.catalogue import ProgrammePublished
from shared.ids import new_id
from shared.messaging.outbox import publish


async def create_programme(
    session: AsyncSession, *, client_id: str, institution: str, code: str, title: str
) -> Programme:
    """Create a programme without a module map: it takes in no credit yet.

    :raises ProgrammeCodeTaken: 409
    """
    programme = Programme(
        programme_id=new_id(),
        client_id=client_id,
        institution=institution,
        code=code,
        title=title,
        created_at=now(session),
    )
    taken = domain.ProgrammeCodeTaken(f'this partner has another programme with the code "{code}"')
    await write(session, programme, {"uq_programmes_client_id_code": taken})
    return programme


async def publish_programme(
    session: AsyncSession, programme_id: UUID, ceiling_credits: int, modules: Sequence[domain.ModuleText], *, by: str
) -> ProgrammeMap:
    """Publish the whole module map as a new version; where nothing differs, return the present one.

    :raises ModuleMappedTwice: 422
    :raises ModuleDatesOutOfOrder: 422
    :raises UnknownCourseVersion: 422
    """
    programme = await fetch(session, Programme, programme_id, lock=True)
    domain.check_map(modules)
    courses = await _courses_of(session, [module.course_version_id for module in modules])
    present = await present_map(session, programme_id)
    if present is not None and present.ceiling_credits == ceiling_credits:
        rows = await modules_of(session, present)
        if {module_text(row) for row in rows} == set(modules):
            return present
    drawn = ProgrammeMap(
        programme_id=programme_id,
        version=1 if present is None else present.version + 1,
        ceiling_credits=ceiling_credits,
        published_at=instant_after(None if present is None else present.published_at, now(session)),
        published_by=by,
    )
    session.add(drawn)
    await session.flush()
    session.add_all(
        ProgrammeModule(
            programme_id=programme_id,
            version=drawn.version,
            course_version_id=module.course_version_id,
            module_code=module.module_code,
            module_title=module.module_title,
            credits=module.credits,
            valid_from=module.valid_from,
            valid_until=module.valid_until,
            decided_by=module.decided_by,
        )
        for module in modules
    )
    publish(
        session,
        ProgrammePublished(
            programme_id=programme_id,
            version=drawn.version,
            client_id=programme.client_id,
            institution_name=programme.institution,
            code=programme.code,
            title=programme.title,
            ceiling_credits=ceiling_credits,
            modules=tuple(
                ModuleFact(
                    course_id=courses[module.course_version_id],
                    course_version_id=module.course_version_id,
                    module_code=module.module_code,
                    module_title=module.module_title,
                    credits=module.credits,
                    valid_from=module.valid_from,
                    valid_until=module.valid_until,
                    decided_by=module.decided_by,
                )
                for module in modules
            ),
            published_at=drawn.published_at,
        ),
    )
    return drawn


async def _courses_of(session: AsyncSession, version_ids: Sequence[UUID]) -> dict[UUID, UUID]:
    """Return the course of each published course version, by version id.

    :raises UnknownCourseVersion: 422, one of them does not exist or is not published
    """
    rows = await session.execute(
        select(CourseVersion.course_version_id, CourseVersion.course_id).where(
            CourseVersion.course_version_id.in_(version_ids), CourseVersion.published_at.is_not(None)
        )
    )
    found = {row.course_version_id: row.course_id for row in rows}
    if missing := sorted(str(version_id) for version_id in version_ids if version_id not in found):
        raise domain.UnknownCourseVersion("no published course version has this id", course_version_ids=missing)
    return found
