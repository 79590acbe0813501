"""Settings of assessment, from the environment, besides those of every service."""

from pathlib import Path

from pydantic import Field

from shared.settings import ServiceSettings


def _local_folder() -> str:
    return (Path.cwd() / ".local" / "submissions").as_uri()


class Settings(ServiceSettings):
    storage_url: str = Field(
        default_factory=_local_folder,
        description="Where submitted files lie: file:///folder or s3://bucket/prefix (AWS_* name region and keys)",
    )
    upload_seconds: float = Field(default=280.0, description="How long one upload may take; less than the gateway's")
    orphan_hours: float = Field(
        default=6.0,
        description="A stored file no submission names goes into the trash after this; more than any upload takes",
    )
    orphans_at_once: int = Field(default=20, description="More such files at once are left for a person to decide")
