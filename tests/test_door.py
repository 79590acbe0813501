"""The files by which people outside come in: what they call exists, and nothing they fetch changes under its name."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
_EXACT = re.compile(r"[\w./-]+:(v?\d+\.\d+(\.\d+)?[\w.-]*|RELEASE\.[\w.-]+)(@sha256:\w{64})?|[\w./-]+@sha256:\w{64}")


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text())


def test_images_that_are_not_built_here_have_an_exact_version():
    services = read("docker-compose.yml")["services"].values()
    built = {service["image"] for service in services if "build" in service}
    loose = {service["image"] for service in services if not _EXACT.fullmatch(service["image"])} - built
    assert loose == set()


def test_the_gate_on_a_server_is_the_gate_anywhere():
    steps = read(".github/workflows/gate.yml")["jobs"]["gate"]["steps"]
    assert any(step.get("run", "").endswith(".ci/run") for step in steps)


@pytest.mark.parametrize("workflow", sorted((ROOT / ".github/workflows").iterdir()), ids=lambda file: file.name)
def test_a_workflow_may_only_read_and_ends(workflow):
    document = read(str(workflow.relative_to(ROOT)))
    assert document["permissions"] == {"contents": "read"}
    for job in document["jobs"].values():
        assert job["timeout-minutes"] <= 180
        for step in job["steps"]:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+(\.\d+)*", step.get("uses", "actions/none@v1"))
            if step.get("run", "").startswith("make "):
                assert re.search(rf"^{step['run'].split()[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_hooks_are_tools_of_the_project_itself():
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        assert (ROOT / shlex.split(hook["entry"])[0]).exists(), hook["entry"]


def test_forms_and_the_container_can_be_read():
    for form in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"):
        document = read(str(form.relative_to(ROOT)))
        assert document.keys() >= {"name", "description", "body"} or document == {"blank_issues_enabled": False}
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert _EXACT.fullmatch(container["image"])
    assert "tools/setup.sh dev true" in container["postCreateCommand"]


def test_the_licence_is_named_in_words_that_programs_know():
    assert "SPDX-License-Identifier: Apache-2.0" in (ROOT / "LICENSE").read_text()
