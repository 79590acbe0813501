"""What is deployed can be started as written: the composition, its settings, and the image's own command."""

import json
import re
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from embedded.services import NAMES

ROOT = Path(__file__).parents[1]
OUTSIDE = {"AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ALLOW_HTTP"}


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """What deploy/docker/make-env.sh prints."""
    printed = subprocess.run(["sh", ROOT / "deploy/docker/make-env.sh"], check=True, capture_output=True, text=True)
    return dict(line.split("=", 1) for line in printed.stdout.splitlines())


@pytest.fixture(scope="module")
def composition(environment) -> dict:
    """docker-compose.yml with its variables filled in, as the engine does, after it is parsed."""

    def value(found: re.Match[str]) -> str:
        name, _, default = found["name"].partition(":-")
        return environment.get(name.partition(":?")[0], default)

    def fill(node: Any) -> Any:  # Any: YAML
        if isinstance(node, dict):
            return {key: fill(one) for key, one in node.items()}
        if isinstance(node, list):
            return [fill(one) for one in node]
        return re.sub(r"(?<!\$)\$\{(?P<name>[^}]+)\}", value, node) if isinstance(node, str) else node

    return fill(yaml.safe_load((ROOT / "docker-compose.yml").read_text()))


@pytest.mark.parametrize("name", NAMES)
def test_a_service_takes_exactly_the_settings_it_is_given(composition, name, monkeypatch):
    given = composition["services"][name]["environment"]
    for variable, value in given.items():
        if variable not in OUTSIDE:
            monkeypatch.setenv(variable, str(value))
    settings = import_module(f"{name}.settings").Settings()  # an unknown or missing variable refuses the start
    assert settings.database_url.endswith(f"@postgres/mc_{name}")
    assert settings.amqp_url.startswith("amqp://platform:")


@pytest.mark.parametrize("name", NAMES)
def test_migrations_run_before_a_service_starts(composition, name):
    services = composition["services"]
    assert services[f"{name}-migrate"]["command"] == ["migrate"]
    assert services[name]["depends_on"][f"{name}-migrate"]["condition"] == "service_completed_successfully"
    assert services[name]["image"] == services[f"{name}-migrate"]["image"]


def test_every_secret_is_made_and_none_stands_in_the_file(environment):
    assert len({value for name, value in environment.items() if re.search("PASSWORD|SECRET$|KEY$", name)}) >= 8
    text = (ROOT / "docker-compose.yml").read_text()
    for line in text.splitlines():
        if re.search(r"(PASSWORD|SECRET|API_KEY|WRAPPING_KEY)\b.*:", line) and "mc alias" not in line:
            assert "${" in line, line
    json.loads(environment["MC_PROVIDER_SECRETS"])


@pytest.mark.parametrize("name", NAMES)
def test_every_image_has_a_lock_with_hashes_and_no_index(name):
    lock = (ROOT / "requirements" / f"{name}.txt").read_text()
    pinned = re.findall(r"^[a-z0-9][a-z0-9._-]*(?:\[[^\]]*\])?==\S+", lock, re.MULTILINE)
    assert len(pinned) > 20
    blocks = re.split(r"\n(?=[a-z0-9])", lock.strip())
    assert all("--hash=sha256:" in block for block in blocks)
    assert "://" not in lock
    assert "index" not in lock.split("==", 1)[0]
