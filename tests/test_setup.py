"""Making .venv where pip, uv and the shell are set up otherwise, and where it is broken off or already under way."""

import fcntl
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from .newcomer import clone_into

pytestmark = pytest.mark.slow
SETUP = ["tools/setup.sh", "run", "echo", "whole"]


@pytest.fixture
def clone(tmp_path) -> Path:
    return clone_into(tmp_path / "platform")


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_it_goes_into_venv_whatever_configuration_files_and_the_shell_say(clone, tmp_path):
    configured = tmp_path / "configured"
    write(configured / "pip/pip.conf", f"[install]\nuser = true\n[global]\ntarget = {tmp_path}/pip\n")
    write(configured / "uv/uv.toml", f'[pip]\ntarget = "{tmp_path}/uv"\n')
    env = {
        **os.environ,
        "XDG_CONFIG_HOME": str(configured),
        "UV_REQUIRE_HASHES": "1",
        "PYTHONHASHSEED": "abc",
        "CDPATH": str(tmp_path),
    }
    (tmp_path / "tools").mkdir(parents=True)  # where CDPATH would lead
    done = subprocess.run(SETUP, cwd=clone, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1], done.stderr) == (0, "whole", "")
    assert not [*tmp_path.glob("uv"), *tmp_path.glob("pip")]
    assert (clone / ".venv/whole").exists()
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    assert not changed.stdout


def test_mirrors_that_configuration_files_name_still_count(tmp_path):
    write(
        tmp_path / "uv/uv.toml",
        'offline = false\n[[index]]\nname = "own"\nurl = "https://mirror.example/simple"\ndefault = true\n'
        '[pip]\ntarget = "/elsewhere"\nsystem = true\nindex-url = "https://mirror.example/\\"simple"\n',
    )
    env = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    env.pop("UV_CONFIG_FILE", None)
    script = Path(__file__).parents[1] / "tools/mirrors.py"
    printed = subprocess.run([sys.executable, "-I", script], env=env, capture_output=True, text=True, check=True).stdout
    assert tomllib.loads(printed) == {
        "offline": False,
        "index": [{"name": "own", "url": "https://mirror.example/simple", "default": True}],
        "index-url": 'https://mirror.example/"simple',
    }


@pytest.mark.parametrize("reached", [".venv", ".venv/bin/pip"])
def test_ctrl_c_is_answered_in_one_line(clone, tmp_path, reached):
    said = tmp_path / "said"
    with said.open("wb") as out:
        process = subprocess.Popen(SETUP, cwd=clone, stdout=out, stderr=out, start_new_session=True)
        while not (clone / reached).exists():
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=60) == -signal.SIGINT
    assert said.read_text().splitlines() == ["Installing into .venv …", "Stopped; the next start installs anew."]


def test_a_second_start_says_that_it_waits(clone, tmp_path):
    said = tmp_path / "said"
    with (clone / ".venv.lock").open("w") as lock, said.open("wb") as out:
        fcntl.flock(lock, fcntl.LOCK_EX)
        process = subprocess.Popen(SETUP, cwd=clone, stdout=out, stderr=out, start_new_session=True)
        deadline = time.monotonic() + 20
        while "waiting for it" not in said.read_text() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert said.read_text() == "Another start is installing into .venv; waiting for it …\n"


@pytest.mark.parametrize("barred", [".venv.lock", "."])
def test_a_checkout_that_cannot_be_written_is_reported_in_one_line(clone, barred):
    command = SETUP
    if barred == ".":
        if os.geteuid() == 0:
            # pytest's directories are the owner's alone, and how many lie between differs with xdist.
            for path in clone.parents:
                if not path.stat().st_mode & 0o001:
                    path.chmod(0o755)
            command = ["setpriv", "--reuid=4242", "--regid=4242", "--clear-groups", *SETUP]
        clone.chmod(0o555)
    else:
        (clone / barred).mkdir()
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    clone.chmod(0o755)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert str(clone) in line
    assert ("cannot be written by you" in line) == (barred == ".")
