"""Report who would be affected by a version of the regulations that is not in force yet."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from credentials.domain import impact, regulations
from credentials.domain.regulations import Regulations
from credentials.queries.records import record_of
from credentials.queries.reports import count_credited_learners, credited_learners
from credentials.tables.reports import RegulationReport, RegulationReportLine
from shared.database import fetch
from shared.database import now as now_of
from shared.ids import new_id


async def request_report(
    session: AsyncSession,
    version: str | None,
    document: Mapping[str, Any] | None,  # Any: JSON
    *,
    by: UUID,
) -> RegulationReport:
    """Open a report; a job compares the learners. Raises UnknownRegulations, InvalidRegulations, AlreadyInEffect."""
    now = now_of(session)
    candidate = _candidate(version, document)
    if candidate.effective_from <= now and document is None:
        raise impact.AlreadyInEffect(f"{candidate.version} has been in effect since {candidate.effective_from}")
    report = RegulationReport(
        report_id=new_id(),
        version=candidate.version,
        document=None if document is None else dict(document),
        requested_by=by,
        requested_at=now,
        learners=await count_credited_learners(session),
        compared=0,
        affected=0,
        not_compared=0,
        gained={},
        lost={},
        position=None,
        finished_at=None,
    )
    session.add(report)
    return report


async def go_on_with_report(session: AsyncSession, report_id: UUID, *, limit: int) -> bool:
    """Compare the next learners of a report. Returns False once it is finished."""
    report = await fetch(session, RegulationReport, report_id, lock=True)
    if report.finished_at is not None:
        return False
    now = now_of(session)
    candidate = _candidate(report.version, report.document)
    learner_ids = await credited_learners(session, report.position, limit)
    for learner_id in learner_ids:
        await _compare(session, report, candidate, learner_id, now)
    if learner_ids:
        report.position = learner_ids[-1]
    if len(learner_ids) < limit:
        report.finished_at = now
    return True


async def next_learners(session: AsyncSession, report_id: UUID, *, limit: int) -> Sequence[UUID]:
    """Return the learners whom a report compares next. Raises UnknownRegulations if it can compare nobody."""
    report = await fetch(session, RegulationReport, report_id)
    _candidate(report.version, report.document)
    return [] if report.finished_at is not None else await credited_learners(session, report.position, limit)


async def compare_next(session: AsyncSession, report_id: UUID, learner_id: UUID) -> None:
    """Compare the next learner of a report, unless it has come past them."""
    report = await fetch(session, RegulationReport, report_id, lock=True)
    if not _is_past(report, learner_id):
        await _compare(session, report, _candidate(report.version, report.document), learner_id, now_of(session))
        report.position = learner_id


async def go_past(session: AsyncSession, report_id: UUID, learner_id: UUID) -> bool:
    """Go on with a report after a learner who cannot be compared, and count them.

    Returns False where it has come past them already.
    """
    report = await fetch(session, RegulationReport, report_id, lock=True)
    if _is_past(report, learner_id):
        return False
    report.not_compared += 1
    report.position = learner_id
    return True


async def compare_again(session: AsyncSession, report_id: UUID, learner_id: UUID) -> None:
    """Compare a learner whom a report has gone past."""
    report = await fetch(session, RegulationReport, report_id, lock=True)
    if _is_past(report, learner_id):
        await _compare(session, report, _candidate(report.version, report.document), learner_id, now_of(session))
        report.not_compared -= 1


def _is_past(report: RegulationReport, learner_id: UUID) -> bool:
    return report.position is not None and learner_id <= report.position


async def _compare(
    session: AsyncSession, report: RegulationReport, candidate: Regulations, learner_id: UUID, now: datetime
) -> None:
    record = await record_of(session, learner_id, now)
    changes = impact.changes(
        record.facts(),
        record.live_awards(),
        record.versions(now),
        regulations.claimable_from(candidate, record.pinned),
    )
    gained, lost = dict(report.gained), dict(report.lost)
    for change in changes:
        session.add(
            RegulationReportLine(
                report_id=report.report_id,
                learner_id=learner_id,
                level=change.level,
                gained=list(change.gained),
                lost=list(change.lost),
            )
        )
        gained[change.level] = gained.get(change.level, 0) + bool(change.gained)
        lost[change.level] = lost.get(change.level, 0) + bool(change.lost)
    report.compared += 1
    report.affected += bool(changes)
    report.gained, report.lost = gained, lost


def _candidate(version: str | None, document: Mapping[str, Any] | None) -> Regulations:  # Any: JSON
    return regulations.find(version or "") if document is None else regulations.read_candidate(document)
