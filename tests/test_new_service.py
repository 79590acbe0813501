"""`make service NAME=…` is all that a new service takes: what it makes is checked, tested, run and asked."""

import json
import subprocess
import uuid
from pathlib import Path

import pytest

from embedded import ports
from embedded.new_service import ENTRIES, Refused, check, with_entries
from embedded.workspace import BEHIND_THE_GATEWAY, NAMES, ROOT

from .newcomer import accounts, call, clone_into, environment, make_run

NAME = "tutoring"
CHECKS = (
    ["-m", "embedded.listed"],
    ["-m", "ruff", "check", "."],
    ["-m", "ruff", "format", "--check", "."],
    ["-m", "basedpyright", f"services/{NAME}/{NAME}"],
    ["-m", "embedded.architecture"],
    ["-m", "embedded.migrations"],
    ["-m", "embedded.schema"],
    ["-m", "embedded.documents", "--check"],
    ["-m", "pytest", "-q", f"services/{NAME}", "tests/test_list_of_services.py", "tests/test_deployment.py"],
)


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Path:
    clone = clone_into(tmp_path_factory.mktemp("another") / "platform")
    done = subprocess.run(["make", "service", f"NAME={NAME}"], cwd=clone, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return clone


@pytest.mark.slow
@pytest.mark.parametrize("words", CHECKS, ids=lambda words: words[1])
def test_what_is_made_passes_the_checks_and_its_tests(clone, words):
    done = subprocess.run([".venv/bin/python", *words], cwd=clone, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_what_is_made_answers_through_the_front_door(clone):
    port = ports.suggest(len(ports.NAMES) + 1)
    with make_run(clone, environment(port)) as start:
        email, password = accounts(start.until_up())["catalogue_editor"]
        token = call(port, "/v1/sign-ins", {"email": email, "password": password})["access_token"]
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": str(uuid.uuid4())}
        made = call(port, f"/v1/{NAME}", {"title": "A first entry"}, **headers)
        assert made["title"] == "A first entry"
        assert f"/v1/{NAME}" in call(port, "/openapi.json")["paths"]
        start.ctrl_c()


@pytest.mark.parametrize(
    "name", ["", "a", "Library", "my-service", "library2", "x" * 21, "class", "newservice", "json", *NAMES]
)
def test_a_name_that_cannot_be_a_services_is_refused(name):
    with pytest.raises(Refused):
        check(name)


def test_an_address_that_leads_elsewhere_is_no_name_for_a_service():
    with pytest.raises(Refused, match="leads to another service"):
        check("courses")


def test_every_entry_finds_its_one_place():
    texts = with_entries(NAME)
    assert len(texts) == len({file for file, _, _ in ENTRIES})
    assert texts[ROOT / "services.txt"].split() == [*BEHIND_THE_GATEWAY, NAME]
    [*_, route] = json.loads(texts[ROOT / "gateway/gateway/edge/routes.json"])["routes"]
    assert route == {"prefix": f"/v1/{NAME}", "service": NAME}


def test_a_file_in_which_no_entry_fits_is_named(tmp_path):
    for file in {file for file, _, _ in ENTRIES}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text((ROOT / file).read_text().replace("[gateway]", "[front door]"))
    with pytest.raises(Refused, match=r"README\.md is not as this program knows it"):
        with_entries(NAME, tmp_path)
