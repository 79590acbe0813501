"""docs/settings.md has every variable that is read, set or mentioned anywhere (`embedded.documents` writes it)."""

import re
import subprocess
from pathlib import Path

import pytest
from pydantic import Field

from embedded import settings_page
from shared.settings import ServiceSettings

ROOT = Path(__file__).parents[1]
EXAMPLES = {"MC_GREETING", "MC_NAME", "MC_VERSIONS"}
"""Settings of services that are none: of an example, and of the bench."""


def mentioned() -> dict[str, str]:
    """Every variable that a file names, with that file."""
    command = ["git", "grep", "-oE", r"\bMC_[A-Z][A-Z_]*[A-Z]\b", "--", ":!docs/*", ":!CHANGELOG.md"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(line.split(":", 1)[::-1] for line in found.stdout.splitlines())


def test_every_variable_is_on_the_page():
    on_the_page = set(re.findall(r"^\| `(\w+)` \|", settings_page.page(), re.MULTILINE))
    missing = {name: file for name, file in mentioned().items() if name not in on_the_page | EXAMPLES}
    assert missing == {}
    assert mentioned().keys() >= EXAMPLES, "take it out"


@pytest.mark.parametrize(
    ("name", "form", "default"),
    [
        ("MC_POOL_TIMEOUT_SECONDS", "seconds", "`5.0`"),
        ("MC_FEED_SECRET", "text, secret", "required"),
        ("MC_ORIGINS", "origins, by commas", "none"),
        ("MC_FONT_FOLDER", "path", "none"),
        ("MC_PASSWORD_SIGN_IN", "true or false", "`true`"),
        ("MC_STORAGE_URL", "text", "`file://<working folder>/.local/submissions`"),
        ("SANDBOX_RETRY_SECONDS", "seconds", "`[3.0, 30.0, 180.0]`"),
    ],
)
def test_a_row_says_form_and_default(name, form, default):
    assert f"| `{name}` | {form} | {default} |" in settings_page.page()


def test_a_setting_without_a_description_stops_the_page(monkeypatch):
    monkeypatch.setitem(ServiceSettings.model_fields, "host", Field(default="0.0.0.0"))  # noqa: S104 - no server
    with pytest.raises(ValueError, match="the setting host has no description"):
        settings_page.page()
