"""Settings of enrolment, from the environment, besides those of every service."""

from pathlib import Path

from pydantic import Field

from shared.settings import ServiceSettings


def _local_folder() -> str:
    return (Path.cwd() / ".local" / "name-evidence").as_uri()


class Settings(ServiceSettings):
    evidence_url: str = Field(
        default_factory=_local_folder,
        description="Where evidence for another name lies: file:///folder or s3://bucket/prefix (AWS_* name region and "
        "keys); a place of its own, for files there that no request names go into the trash",
    )
    evidence_seconds: float = Field(default=100.0, description="How long one upload may take; less than the gateway's")
    evidence_orphan_hours: float = Field(
        default=6.0,
        description="A stored file no request names goes into the trash after this; more than any upload takes",
    )
    evidence_orphans_at_once: int = Field(
        default=20, description="More such files at once are left for a person to decide"
    )
