"""Who is affected, before a version of the regulations takes effect."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import Query
from pydantic import Field, model_validator
from sqlalchemy import select

from credentials.commands import reports
from credentials.domain.impact import AlreadyInEffect
from credentials.domain.regulations import InvalidRegulations
from credentials.tables.reports import RegulationReport, RegulationReportLine
from shared.database import fetch
from shared.paging import paginate
from shared.regulations import UnknownRegulations
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
)
from shared.web.content import Text

router = Router()


class ReportRequest(RequestModel):
    """Which regulations to compare with those in force: a version this release knows, or a candidate as a document."""

    version: Text | None = Field(default=None, max_length=80, examples=["mc-regs-2027.1"])
    document: dict[str, Any] | None = Field(  # Any: JSON
        default=None, description="The same members as the versions this service ships"
    )

    @model_validator(mode="after")
    def _one_or_the_other(self) -> "ReportRequest":
        if (self.version is None) == (self.document is None):
            raise ValueError("name either a version or a document")
        return self


class ReportView(View):
    """What another version of the regulations would change for all learners with credit; `finished_at` is null
    while the comparison goes on."""

    report_id: UUID
    version: str = Field(examples=["mc-regs-2027.1"])
    requested_at: Instant
    learners: int = Field(description="With credit, when it was requested", examples=[2400])
    compared: int = Field(description="So far", examples=[2400])
    not_compared: int = Field(
        description="Learners who could not be compared so far; they are tried again, and `set-aside list` names them",
        examples=[0],
    )
    affected: int = Field(description="Learners for whom anything changes", examples=[37])
    gained: dict[str, int] = Field(description="Learners who gain a title, by level", examples=[{"pgdip": 30}])
    lost: dict[str, int] = Field(description="Learners who lose a title, by level", examples=[{"pgdip": 7}])
    finished_at: Instant | None


class AffectedView(View):
    """A learner for whom another version of the regulations changes titles at one level: which they gain and lose."""

    learner_id: UUID
    level: str = Field(examples=["pgdip"])
    gained: list[str] = Field(examples=[["PGDip in Data Science with Management"]])
    lost: list[str] = Field(examples=[["PGDip in Interdisciplinary Studies"]])


@router.post(
    "/v1/regulation-reports",
    operation_id="request_regulation_report",
    status_code=202,
    dependencies=[Idempotent],
    responses=error_responses(UnknownRegulations, InvalidRegulations, AlreadyInEffect),
)
async def request_regulation_report(body: ReportRequest, session: Session, caller: CallerOf) -> ReportView:
    """Compare what every learner may claim now with what they may claim once this version is in force."""
    report = await reports.request_report(session, body.version, body.document, by=caller.own_id)
    return ReportView.model_validate(report)


@router.get("/v1/regulation-reports/{report_id}", operation_id="read_regulation_report")
async def read_regulation_report(report_id: UUID, session: ReadSession) -> ReportView:
    """Read how far the comparison with a version of the regulations has come, and what it found."""
    return ReportView.model_validate(await fetch(session, RegulationReport, report_id))


@router.get("/v1/regulation-reports/{report_id}/learners", operation_id="list_affected_learners")
async def list_affected_learners(
    report_id: UUID,
    session: ReadSession,
    paging: Paging,
    level: Annotated[str | None, Query(max_length=40, examples=["pgdip"])] = None,
) -> Page[AffectedView]:
    """Learners whom a version of the regulations affects, and how, as far as the report has come."""
    await fetch(session, RegulationReport, report_id)
    line = RegulationReportLine
    statement = select(line).where(line.report_id == report_id)
    if level is not None:
        statement = statement.where(line.level == level)
    rows, cursor = await paginate(session, statement, paging, by=(line.learner_id, line.level))
    return page_of(rows, AffectedView.model_validate, cursor)
