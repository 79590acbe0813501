"""The composition root."""

from datetime import timedelta
from pathlib import Path

from enrolment import queries
from enrolment.access import ACCESS
from enrolment.api import routers
from enrolment.handlers import inbox
from enrolment.jobs import jobs
from enrolment.settings import Settings
from shared.directory import PersonEntry
from shared.service import Service
from shared.storage import ObjectStorage, open_storage
from shared.uploads import UploadPolicy


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
        resources={
            ObjectStorage: open_storage(settings.evidence_url),
            UploadPolicy: UploadPolicy(
                store="name evidence",
                named=queries.known_files,
                names_any=queries.names_any_file,
                longest=timedelta(seconds=settings.evidence_seconds),
                orphan_age=timedelta(hours=settings.evidence_orphan_hours),
                orphans_at_once=settings.evidence_orphans_at_once,
            ),
        },
        directory={PersonEntry: queries.people},
    )
