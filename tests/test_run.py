"""`make run` as a newcomer meets it: a clean clone in a folder with a space and an accent, under a foreign locale."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from embedded import ports

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed project, nothing else of this checkout."""
    folder = tmp_path_factory.mktemp("a newcomer's dossier privé") / "the platform"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    return folder


def _environment(port: int) -> dict[str, str]:
    """With a locale whose letters and decimal commas have broken programs before."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MC_", "VIRTUAL_ENV"))}
    return {**kept, "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "MC_PORT": str(port)}


@contextmanager
def _running(clone: Path, port: int) -> Iterator[tuple[subprocess.Popen, Path]]:
    said = clone.parent / f"said-{time.monotonic_ns()}.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(
            ["make", "run"], cwd=clone, env=_environment(port), stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process, said
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _until_up(process: subprocess.Popen, said: Path) -> str:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        text = said.read_text()
        if "The platform is up" in text:
            return text
        assert process.poll() is None, text
        time.sleep(0.2)
    raise AssertionError(f"not up after {PATIENCE_SECONDS} s: {said.read_text()}")


def _get(port: int, path: str) -> dict:
    with urllib.request.urlopen(f"http://localhost:{port}{path}", timeout=10) as answer:
        return json.load(answer)


def _ctrl_c(process: subprocess.Popen) -> None:
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does, to everything in the foreground
    assert process.wait(timeout=60) in {0, -signal.SIGINT}  # make ends by the same signal once its child has ended


def test_a_newcomer_has_the_platform_up_stops_it_and_finds_everything_again(clone):
    port = ports.suggest(len(ports.NAMES))
    with _running(clone, port) as (process, said):
        told = _until_up(process, said)
        courses = _get(port, "/v1/courses?limit=100")
        assert courses["total"] >= 30
        assert len(courses["facets"]["subjects"]) >= 8
        assert _get(port, "/openapi.json")["openapi"].startswith("3.1")
        for role in (
            "learner",
            "marker",
            "examiner",
            "board",
            "registrar",
            "advisor",
            "finance",
            "catalogue_editor",
            "operator",
        ):
            assert re.search(rf"{role}\s+\S+@\S+\s+\S+", told)
        _ctrl_c(process)
    with pytest.raises(urllib.error.URLError):
        _get(port, "/v1/courses")
    left = subprocess.run(["pgrep", "-f", str(clone)], capture_output=True, text=True, check=False)
    assert not left.stdout, "something still runs"

    with _running(clone, port) as (process, said):
        _until_up(process, said)
        again = _get(port, "/v1/courses?limit=100")
        assert {one["course_id"] for one in again["items"]} == {one["course_id"] for one in courses["items"]}
        _ctrl_c(process)


def test_a_busy_port_is_named_with_the_variable_that_moves_it(clone):
    port = ports.suggest(len(ports.NAMES))
    with socket.create_server(("127.0.0.1", port + 4)), _running(clone, port) as (process, said):
        assert process.wait(timeout=PATIENCE_SECONDS) != 0
        told = said.read_text()
    assert f"credentials needs port {port + 4}, which is busy" in told
    assert "MC_PORT" in told


def test_the_working_tree_stays_clean(clone):
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert not changed.stdout
