"""The settings of this service, read from its environment as MC_<NAME>."""

import base64
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import DirectoryPath, Field, field_validator

from openbadges.verification.limits import Limits
from shared.settings import ServiceSettings, WrappingKey


def _local_folder() -> str:
    return (Path.cwd() / ".local" / "evidence").as_uri()


class Settings(ServiceSettings):
    wrapping_key: WrappingKey = Field(
        description="Opens the stored signing keys: 32 random bytes in base64. Kept apart from the database and its "
        "backups; without it nothing more can be signed under the present keys"
    )
    awarding_body: str = Field(
        default="Federation of Universities", description="Who issues: stands on badges, transcripts and pages"
    )

    font_folder: DirectoryPath | None = Field(
        default=None,
        description="More fonts, for names in scripts that no package here has (Tibetan, Thaana and others are in "
        "Debian's fonts-noto-core); families a package has are left out",
    )
    verification: Limits = Field(
        default=Limits(),
        description='What one may hand in to be checked, where it differs: {"document_bytes": 2000000}',
    )
    verification_page_seconds: int = Field(
        default=10, ge=0, description="How long a public verification page is kept while the records stay as they are"
    )
    verification_reaches_loopback: bool = Field(
        default=False, description="For tests: issuers on this machine may be asked, also by http"
    )
    evidence_url: str = Field(
        default_factory=_local_folder,
        description="Where evidence for recognition lies: file:///folder or s3://bucket/prefix (AWS_* name region and "
        "keys); a place of its own, for files there that no application names go into the trash",
    )
    evidence_seconds: float = Field(default=100.0, description="How long one upload may take; less than the gateway's")
    evidence_orphan_hours: float = Field(
        default=6.0,
        description="A stored file no application names goes into the trash after this; more than any upload takes",
    )
    evidence_orphans_at_once: int = Field(
        default=20, description="More such files at once are left for a person to decide"
    )
    webhooks_reach_loopback: bool = Field(
        default=False,
        description="Webhooks may go to this machine, by http and to any port: for tests and platforms on one machine",
    )

    @field_validator("public_url")
    @classmethod
    def _without_a_path(cls, value: str) -> str:
        if urlsplit(value).path not in {"", "/"}:
            raise ValueError("must have no path: the issuer's keys are at /.well-known/did.json of its host")
        return value

    def wrapping_key_bytes(self) -> bytes:
        return base64.b64decode(self.wrapping_key.get_secret_value())
