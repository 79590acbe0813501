"""`make run` as a newcomer meets it: a clean clone in a folder with a space and an accent, under a foreign locale."""

import os
import socket
import subprocess
import urllib.error
from pathlib import Path

import pytest
from newcomer import accounts, call, clone_into, environment, make_run

from embedded import people, ports

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone_into(tmp_path_factory.mktemp("a newcomer's dossier privé") / "the platform")


def test_a_newcomer_has_the_platform_up_stops_it_and_finds_everything_again(clone):
    port = ports.suggest(len(ports.NAMES))
    with make_run(clone, environment(port)) as start:
        told = start.until_up()
        courses = call(port, "/v1/courses?limit=100")
        assert courses["total"] >= 30
        assert len(courses["facets"]["subjects"]) >= 8
        assert call(port, "/openapi.json")["openapi"].startswith("3.1")
        assert accounts(told).keys() == people.ROLES.keys()
        with pytest.raises(urllib.error.HTTPError):
            call(port, "/v1/verifications", {"no": "credential"})  # a process examines it, which hears no Ctrl-C
        readable = [path for path in (clone / ".local").rglob("*") if path.lstat().st_mode & 0o077]
        assert not readable, "others can read what is private"
        start.ctrl_c()
    with pytest.raises(urllib.error.URLError):
        call(port, "/v1/courses")
    left = subprocess.run(["pgrep", "-f", str(clone)], capture_output=True, text=True, check=False)
    assert not left.stdout, "something still runs"

    with make_run(clone, environment(port)) as start:
        start.until_up()
        again = call(port, "/v1/courses?limit=100")
        assert {one["course_id"] for one in again["items"]} == {one["course_id"] for one in courses["items"]}
        start.ctrl_c()


def test_the_demo_finds_the_platform_that_runs_on_its_data_and_no_other(clone):
    port = ports.suggest(len(ports.NAMES))
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        at = f"http://127.0.0.1:{stranger.getsockname()[1]}"
        (clone / ".local" / "running").write_text(at)  # as a kill leaves it; the port is another's by now
        assert "no platform runs on" in _demo(clone, environment(port))
        stranger.settimeout(0)
        with pytest.raises(BlockingIOError):
            stranger.accept()
    with make_run(clone, environment(port)) as start:
        told = start.until_up()
        assert "`make demo`" in told
        assert "Ada Lovelace holds a PGCert" in _demo(clone, environment(8000))
        with make_run(clone, environment(ports.suggest(len(ports.NAMES)))) as second:
            assert f"is running on {clone / '.local'} already, at http://127.0.0.1:{port}" in second.until_refused()
        start.ctrl_c()


def _demo(clone: Path, env: dict[str, str]) -> str:
    done = subprocess.run(["make", "demo"], cwd=clone, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_a_busy_port_is_named_with_the_variable_that_moves_it(clone):
    port = ports.suggest(len(ports.NAMES))
    with socket.create_server(("127.0.0.1", port + 4)), make_run(clone, environment(port)) as start:
        told = start.until_refused()
    assert f"credentials needs port {port + 4}, which is busy" in told
    assert "MC_PORT" in told


@pytest.mark.parametrize("given", ["*", "null", "learn.example", "https://learn.example/path"])
def test_what_is_no_origin_is_named_in_one_line(clone, given):
    with make_run(clone, environment(ports.suggest(len(ports.NAMES)), MC_ORIGINS=given)) as start:
        told = start.until_refused()
    assert f"{given!r} is none" in told
    assert "Traceback" not in told


def test_the_working_tree_stays_clean(clone):
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert not changed.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can open a folder to another")
def test_a_folder_of_another_user_is_refused_in_one_line(clone, tmp_path):
    os.chown(tmp_path, 4242, 4242)
    env = environment(ports.suggest(len(ports.NAMES)), MC_DATA=str(tmp_path))
    with make_run(clone, env) as start:
        assert f"{tmp_path} is not yours (it belongs to user 4242)" in start.until_refused()
    assert not [*tmp_path.iterdir()]
