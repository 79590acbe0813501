"""Puts the parts of assessment together."""

from datetime import timedelta
from pathlib import Path

from assessment import api
from assessment.access import ACCESS
from assessment.handlers import inbox
from assessment.jobs import jobs
from assessment.queries.enrolments import known_keys, names_any_file
from assessment.settings import Settings
from shared.service import Service
from shared.storage import ObjectStorage, open_storage
from shared.uploads import UploadPolicy


def build(settings: Settings) -> Service:
    """Briefs, windows, submitted work, marks and the board that turns them into credit."""
    return Service(
        name="assessment",
        title="Assessment",
        description="Briefs, windows, submitted work, marks, and the board that turns them into credit.",
        settings=settings,
        versions=Path(__file__).parents[1] / "migrations" / "versions",
        routers=api.routers,
        access=ACCESS,
        inbox=inbox,
        jobs=jobs,
        resources={
            ObjectStorage: open_storage(settings.storage_url),
            UploadPolicy: UploadPolicy(
                store="submissions",
                named=known_keys,
                names_any=names_any_file,
                longest=timedelta(seconds=settings.upload_seconds),
                orphan_age=timedelta(hours=settings.orphan_hours),
                orphans_at_once=settings.orphans_at_once,
            ),
        },
    )
