"""The composition root."""

from pathlib import Path

from enrolment import queries
from enrolment.access import ACCESS
from enrolment.api import routers
from enrolment.handlers import inbox
from enrolment.jobs import jobs
from enrolment.settings import Settings
from shared.registers import PersonEntry
from shared.service import Service


def build(settings: Settings) -> Service:
    """Learners, enrolments, progress and the study record."""
    return Service(
        name="enrolment",
        title="Enrolment",
        description="Learners, self-certified admission, enrolments, access to materials, progress, the study record",
        settings=settings,
        versions=Path(__file__).parents[1] / "migrations" / "versions",
        routers=routers,
        access=ACCESS,
        inbox=inbox,
        jobs=jobs,
        registers={PersonEntry: queries.people},
    )
