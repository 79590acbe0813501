"""Operations on partners' degree programmes that take in credit: everybody reads them, editors publish them."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from fastapi import Request, Response
from pydantic import Field, StringConstraints

from catalogue import domain
from catalogue.api.shapes import Code, Name
from catalogue.commands import programmes
from catalogue.queries.programmes import map_in_use, modules_of, published_programmes
from catalogue.tables import Programme
from shared.database import fetch
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
    conditional,
    error_responses,
    page_of,
)

router = Router()

ClientId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+$", max_length=100)]
Credits = Annotated[int, Field(ge=1, le=600, description="In credits")]


class ProgrammeRequest(RequestModel):
    """A partner's degree into which learners may transfer credit, as an editor enters it."""

    client_id: ClientId = Field(
        description="The partner's client at the gateway: it decides on transfers into the programme",
        examples=["mcp_0193e7a45b5c7c3a9d590c4f5a1b2c3d"],
    )
    institution: Name = Field(examples=["Example University"])
    code: Code = Field(examples=["MSC-DS"])
    title: Name = Field(examples=["MSc Data Science"])


class ModuleRequest(RequestModel):
    """A course version that counts as a module of a partner's degree, in which span of time, and who decided so."""

    course_version_id: UUID = Field(examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])
    module_code: Code = Field(examples=["DS7001"])
    module_title: Name = Field(examples=["Statistical Learning"])
    credits: Credits = Field(description="Credits it counts for in the programme", examples=[15])
    valid_from: Instant = Field(examples=["2026-09-01T00:00:00Z"])
    valid_until: Instant | None = Field(default=None, description="Null: until another map says so", examples=[None])
    decided_by: Name = Field(examples=["Faculty Board, 2026/3"])

    def as_text(self) -> domain.ModuleText:
        return domain.ModuleText(**self.model_dump())


class ModuleMapRequest(RequestModel):
    """The whole list of course versions that count in a degree; it takes the place of the list before."""

    ceiling_credits: Credits = Field(description="How much credit from here the programme takes in", examples=[60])
    modules: list[ModuleRequest] = Field(max_length=500)


class ProgrammeView(View):
    """A partner's degree into which credit can be transferred."""

    programme_id: UUID = Field(examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])
    institution: str = Field(examples=["Example University"])
    code: str = Field(examples=["MSC-DS"])
    title: str = Field(examples=["MSc Data Science"])


class ModuleView(View):
    """A course version that counts as a module of a degree from `valid_from` until before `valid_until`; null: no
    end yet."""

    course_version_id: UUID = Field(examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])
    module_code: str = Field(examples=["DS7001"])
    module_title: str = Field(examples=["Statistical Learning"])
    credits: int = Field(examples=[15])
    valid_from: Instant
    valid_until: Instant | None
    decided_by: str = Field(examples=["Faculty Board, 2026/3"])


class ProgrammeMapView(ProgrammeView):
    """A degree with the course versions that count in it, in the newest version of its list."""

    version: int = Field(examples=[1])
    ceiling_credits: int = Field(examples=[60])
    modules: Sequence[ModuleView]
    published_at: Instant


@router.post(
    "/v1/programmes",
    operation_id="create_programme",
    status_code=201,
    dependencies=[Idempotent],
    responses=error_responses(domain.ProgrammeCodeTaken),
)
async def create_programme(new: ProgrammeRequest, session: Session) -> ProgrammeView:
    """Admit a partner's degree programme; it takes in credit from its first map on."""
    return ProgrammeView.model_validate(await programmes.create_programme(session, **new.model_dump()))


@router.put(
    "/v1/programmes/{programme_id}/map",
    operation_id="publish_programme",
    responses=error_responses(domain.ModuleMappedTwice, domain.ModuleDatesOutOfOrder, domain.UnknownCourseVersion),
)
async def publish_programme(
    programme_id: UUID, new: ModuleMapRequest, session: Session, caller: CallerOf
) -> ProgrammeMapView:
    """Publish what the programme takes in, as a whole: which course version counts as which module, and the ceiling."""
    modules = [module.as_text() for module in new.modules]
    await programmes.publish_programme(session, programme_id, new.ceiling_credits, modules, by=caller.name)
    return await _view(session, programme_id)


@router.get("/v1/programmes", operation_id="list_programmes", response_model=Page[ProgrammeView])
async def list_programmes(request: Request, session: ReadSession, paging: Paging) -> Response:
    """Programmes elsewhere that take in credit from here."""
    rows, cursor = await paginate(session, published_programmes(), paging, by=[Programme.programme_id])
    return conditional(request, page_of(rows, ProgrammeView.model_validate, cursor))


@router.get("/v1/programmes/{programme_id}", operation_id="read_programme", response_model=ProgrammeMapView)
async def read_programme(programme_id: UUID, request: Request, session: ReadSession) -> Response:
    """What the programme takes in. The partner decides on each transfer; the map says what it usually decides."""
    return conditional(request, await _view(session, programme_id))


async def _view(session: Session, programme_id: UUID) -> ProgrammeMapView:
    programme = await fetch(session, Programme, programme_id)
    drawn = await map_in_use(session, programme_id)
    return ProgrammeMapView(
        programme_id=programme_id,
        institution=programme.institution,
        code=programme.code,
        title=programme.title,
        version=drawn.version,
        ceiling_credits=drawn.ceiling_credits,
        modules=[ModuleView.model_validate(row) for row in await modules_of(session, drawn)],
        published_at=drawn.published_at,
    )
