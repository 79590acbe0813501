"""Reports on what a version of the regulations would change, made learner by learner."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from credentials.tables.base import Base


class RegulationReport(Base):
    """A report on a version of the regulations. `position` is the last learner compared; `gained` and `lost` count
    learners."""

    __tablename__ = "regulation_reports"
    __table_args__ = (Index("ix_regulation_reports_open", "report_id", postgresql_where=text("finished_at is null")),)

    report_id: Mapped[UUID] = mapped_column(primary_key=True)
    version: Mapped[str]
    document: Mapped[dict[str, Any] | None]  # Any: JSON
    """The candidate; None for a version this release knows."""
    requested_by: Mapped[UUID]
    requested_at: Mapped[datetime]
    learners: Mapped[int]
    compared: Mapped[int]
    not_compared: Mapped[int] = mapped_column(server_default="0")
    """Learners whom it went past, since comparing them failed: set aside, and tried again."""
    affected: Mapped[int]
    gained: Mapped[dict[str, Any]]  # Any: JSON, level -> number of learners
    lost: Mapped[dict[str, Any]]  # Any: JSON, level -> number of learners
    position: Mapped[UUID | None]
    finished_at: Mapped[datetime | None]


class RegulationReportLine(Base):
    """What one learner would gain and lose at one level."""

    __tablename__ = "regulation_report_lines"

    report_id: Mapped[UUID] = mapped_column(ForeignKey("regulation_reports.report_id"), primary_key=True)
    learner_id: Mapped[UUID] = mapped_column(primary_key=True)
    level: Mapped[str] = mapped_column(primary_key=True)
    gained: Mapped[list[str]]
    lost: Mapped[list[str]]


class Rebuild(Base):
    """A rebuild of the learners who differed, and the person who signed it off."""

    __tablename__ = "rebuilds"

    rebuild_id: Mapped[UUID] = mapped_column(primary_key=True)
    signed_off_by: Mapped[str]
    began_at: Mapped[datetime]
    finished_at: Mapped[datetime]
    learners: Mapped[int]
