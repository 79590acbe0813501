"""services.txt is the one list of services: what is not derived from it is compared with it."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from embedded.architecture import expanded
from embedded.listed import faults
from embedded.workspace import BEHIND_THE_GATEWAY, NAMES, ROOT
from shared.testing.source import syntax_tree


def test_every_file_that_names_the_services_names_all_of_them():
    assert [*faults()] == []


def test_a_service_that_is_only_listed_is_missing_everywhere_else():
    found = [*faults(names=("library", *NAMES))]
    assert {one.partition(":")[0] for one in found} == {
        "services.txt", "requirements", "README.md", "gateway/gateway/edge/routes.json", "docker-compose.yml"
    }  # fmt: skip
    assert "requirements: the lock library.txt (requirements/lock.sh library) is missing" in found
    assert "docker-compose.yml: the service library-migrate is missing" in found
    assert "docker-compose.yml: library in MC_FEEDS is missing" in found
    assert "docker-compose.yml: library in MC_SERVICES of the gateway is missing" in found


@pytest.mark.parametrize("gone", BEHIND_THE_GATEWAY)
def test_what_is_left_of_a_service_that_was_struck_off_is_named(gone):
    found = [*faults(names=tuple(name for name in NAMES if name != gone))]
    assert len(found) == 8
    assert all(one.endswith("is of no service in services.txt") for one in found)


def test_contracts_name_every_service():
    assert expanded('a = ["shared", "<services>", "gateway"]', ["b", "c"]) == 'a = ["shared", "b", "c", "gateway"]'
    assert expanded('["<services>.domain"]', ["b", "c"]) == '["b.domain", "c.domain"]'


def test_nobody_keeps_another_list():
    listed = subprocess.run(["git", "ls-files", "*.py", "*.sh", "*.toml"], cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / name for name in listed.stdout.decode().splitlines()]
    assert len(files) > 500
    assert not [str(file.relative_to(ROOT)) for file in files if file.exists() and names_all(file)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", f"SERVICES = {BEHIND_THE_GATEWAY}"),
        ("a.py", f"for name in {{*{[*BEHIND_THE_GATEWAY]}}}: ...".replace(", ", ",\n")),
        ("a.sh", f"for name in {' '.join(BEHIND_THE_GATEWAY)}; do"),
        ("a.toml", f"modules = {[*BEHIND_THE_GATEWAY]}"),
    ],
)
def test_another_list_would_be_found(tmp_path, name, text):
    file = tmp_path / name
    file.write_text(text)
    assert names_all(file)


def names_all(file: Path) -> bool:
    """Whether one literal of a program, or one line of another file, holds every service's name."""
    text = file.read_text()
    if file.suffix == ".py":
        literals = [one for one in ast.walk(syntax_tree(text)) if isinstance(one, ast.List | ast.Tuple | ast.Set)]
        words = [{one.value for one in node.elts if isinstance(one, ast.Constant)} for node in literals]
    else:
        words = [{*re.findall(r"\w+", line)} for line in text.splitlines()]
    return any(found.issuperset(BEHIND_THE_GATEWAY) for found in words)
