"""Ctrl-C in a command says one line and ends it by that signal, at whatever point."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from embedded.people import ROLES, address_of
from embedded.platform import LOADED
from embedded.workspace import ROOT

COMMANDS = {
    "demo": ("embedded.demo", "The demo was stopped"),
    "demo-award": ("embedded.demo_award", "The demo was stopped"),
    "replay": ("embedded.replay", "The replay was stopped"),
}
FILES = ("studentRegistration", "assessments")
"""One of which is read first."""


@pytest.fixture
async def silent():
    """An address that takes every request and answers none; set when the first has come."""
    asked = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.2", 0)  # no platform of this machine, whose events it would read
    yield f"http://127.0.0.2:{server.sockets[0].getsockname()[1]}", asked
    server.close()


def begin(name: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", COMMANDS[name][0], *arguments]
    env = {**os.environ, "NO_PROXY": "*"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def ended(process: subprocess.Popen[str], name: str) -> None:
    process.send_signal(signal.SIGINT)
    _, printed = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    [line] = printed.strip().splitlines()
    assert line.startswith(COMMANDS[name][1])


@pytest.mark.parametrize("name", ["demo", "demo-award"])
async def test_while_it_waits_for_the_platform(silent, tmp_path, name):
    url, asked = silent
    accounts = {role: {"role": role, "email": address_of(role), "password": "x"} for role in ROLES}
    (tmp_path / "people.json").write_text(json.dumps(accounts))
    (tmp_path / LOADED).touch()
    with begin(name, "--base-url", url, "--data", str(tmp_path)) as process:
        await asyncio.wait_for(asked.wait(), 60)
        await asyncio.to_thread(ended, process, name)


def test_while_it_reads_the_data_set(tmp_path):
    first, second = (tmp_path / f"{name}.csv" for name in FILES)
    os.mkfifo(first)
    second.symlink_to(first)
    with (
        begin("replay", str(tmp_path), "--base-url", "http://127.0.0.1:9", "--data", str(tmp_path)) as process,
        first.open("w"),  # once it is opened to be read
    ):
        ended(process, "replay")


@pytest.mark.parametrize("name", COMMANDS)
def test_while_it_is_still_being_read(tmp_path, name):
    with begin(name, str(tmp_path)) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while "_socket" not in maps.read_text():  # of the first of its imports
            assert process.poll() is None
            time.sleep(0.001)
        ended(process, name)


def test_what_a_test_starts_heeds_ctrl_c_though_the_run_was_started_in_the_background():
    """In a shell without job control, which has it ignore Ctrl-C."""
    child = "import signal; print(signal.getsignal(2) is signal.default_int_handler)"
    code = f"import conftest, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    ignoring = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    done = subprocess.run(
        [sys.executable, "-c", code], preexec_fn=ignoring, capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "True\n"


def test_where_ctrl_c_is_passed_over_it_still_is():
    code = (
        "import signal; from embedded.interrupts import end_at_ctrl_c as end; end('x'); print(int(signal.getsignal(2)))"
    )
    ignoring = partial(signal.signal, signal.SIGINT, signal.SIG_IGN)
    done = subprocess.run([sys.executable, "-c", code], preexec_fn=ignoring, capture_output=True, text=True, check=True)
    assert done.stdout == f"{int(signal.SIG_IGN)}\n"
