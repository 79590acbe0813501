"""From whatever state a kill can leave, `make run` comes up again, or says in one line what to do."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from embedded import ports

from .newcomer import call, clone_into, environment, make_run, sign_in_all

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone_into(tmp_path_factory.mktemp("killed") / "platform")


@pytest.fixture
def env(tmp_path) -> dict[str, str]:
    return environment(ports.suggest(len(ports.NAMES)), MC_DATA=str(tmp_path / "data"))


def comes_up(clone: Path, env: dict[str, str]) -> None:
    """Wholly: the accounts are those that are printed, the catalogue is there."""
    with make_run(clone, env) as start:
        printed = start.until_up()
        sign_in_all(int(env["MC_PORT"]), printed)
        assert call(int(env["MC_PORT"]), "/v1/courses?limit=1")["total"] >= 30
        start.ctrl_c()


@pytest.mark.parametrize(
    "reached",
    [
        "bin/python",  # pip is yet to be put in
        "lib/python3*/site-packages/uv",  # the first of the packages
        "lib/python3*/site-packages/sqlalchemy",
    ],
)
def test_an_installation_killed_half_way_is_made_anew(clone, env, reached):
    shutil.rmtree(clone / ".venv", ignore_errors=True)
    with make_run(clone, env) as start:
        start.until(lambda: any((clone / ".venv").glob(reached)), f"at {reached}")
        start.kill()
    assert not (clone / ".venv/whole").exists()
    with make_run(clone, env) as start, make_run(clone, {**env, "MC_PORT": "0"}) as at_once:
        assert "MC_PORT" in at_once.until_refused()  # two shells at once: both find it whole
        start.until_up()
        start.ctrl_c()


def test_an_interpreter_upgraded_underneath_is_noticed(clone, env):
    subprocess.run(["tools/setup.sh", "run"], cwd=clone, env=env, check=True)
    (clone / ".venv/whole").write_text(f"{clone}\nPython 3.10.0 (an older one)\n")
    installed = clone / ".venv/installed-run"
    installed.write_text("of an older one\n")
    comes_up(clone, env)
    assert "an older one" not in (clone / ".venv/whole").read_text() + installed.read_text()


def test_a_start_killed_at_any_stage_is_taken_up(clone, env):
    data = Path(env["MC_DATA"])
    for stage in ("secrets.json", "postgres/cluster.new", "postgres/cluster", "provider.sqlite", "people.json"):
        with make_run(clone, env) as start:
            start.until((data / stage).exists, f"at {stage}")
            start.kill()
    comes_up(clone, env)


def test_what_an_earlier_release_or_a_power_cut_left_torn_is_made_good(clone, env):
    data = Path(env["MC_DATA"])
    data.mkdir(mode=0o755)
    (data / "secrets.json").touch(mode=0o600)  # made, not filled
    comes_up(clone, env)
    assert not data.stat().st_mode & 0o077
    (data / "people.json").write_text("")
    (data / "postgres/cluster/postmaster.pid").touch()
    comes_up(clone, env)
    (data / "people.json").unlink()
    comes_up(clone, env)
    people = json.loads((data / "people.json").read_text())
    people["marker"]["password"] = "another than the account has"
    (data / "people.json").write_text(json.dumps(people))
    shutil.rmtree(data / "postgres")
    comes_up(clone, env)


def test_lost_secrets_are_reported_in_one_line(clone, env):
    data = Path(env["MC_DATA"])
    (data / "postgres/cluster").mkdir(parents=True)
    for torn in (False, True):
        if torn:
            (data / "secrets.json").touch()
        with make_run(clone, env) as start:
            printed = start.until_refused()
        assert f"{data / 'secrets.json'} is missing or damaged" in printed
        assert "move" in printed
        assert "Traceback" not in printed


@pytest.mark.parametrize("stage", ["postgres/cluster.new", "people.json"])
def test_ctrl_c_ends_a_start_at_once(clone, env, stage):
    with make_run(clone, env) as start:
        start.until((Path(env["MC_DATA"]) / stage).exists, f"at {stage}")
        start.ctrl_c()  # what takes time then is PostgreSQL's, which writes all it was given
        assert "Stopping …" in start.said
        assert "The platform is up" not in start.said
