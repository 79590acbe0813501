"""A clean clone of the committed project, and `make run` in it as a newcomer starts it."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 300
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def clone_into(folder: Path) -> Path:
    """The committed project, nothing else of this checkout."""
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True)
    return folder


def environment(port: int, **further: str) -> dict[str, str]:
    """With a locale whose letters and decimal commas have broken programs before."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MC_", "VIRTUAL_ENV"))}
    return {**kept, "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8", "MC_PORT": str(port), **further}


class Start:
    """One `make run`, its output in a file."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process, self._said = process, said

    @property
    def said(self) -> str:
        return self._said.read_text()

    def until(self, reached: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not reached():
            assert self.process.poll() is None, f"ended before {what}: {self.said}"
            assert time.monotonic() < deadline, f"not {what} after {PATIENCE_SECONDS} s: {self.said}"
            time.sleep(0.02)

    def until_up(self) -> str:
        self.until(lambda: "The platform is up" in self.said, "up")
        return self.said

    def until_refused(self) -> str:
        assert self.process.wait(timeout=PATIENCE_SECONDS) != 0
        return self.said

    def kill(self) -> None:
        """As a power cut: everything in the foreground at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ctrl_c(self) -> None:
        """As the terminal does, to everything in the foreground."""
        os.killpg(self.process.pid, signal.SIGINT)
        assert self.process.wait(timeout=60) in {0, -signal.SIGINT}  # make ends by the same signal as its child
        assert "Traceback" not in self.said


@contextmanager
def make_run(clone: Path, env: Mapping[str, str], umask: int = -1) -> Iterator[Start]:
    said = clone.parent / f"said-{time.monotonic_ns()}.txt"
    with said.open("wb") as out:
        process = subprocess.Popen(
            ["make", "run"], cwd=clone, env=env, stdout=out, stderr=out, start_new_session=True, umask=umask
        )
    try:
        yield Start(process, said)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def call(port: int, path: str, body: object = None, **headers: str) -> Any:  # Any: JSON
    """What the gateway answers, past any proxy."""
    sent = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", sent, {"Content-Type": "application/json", **headers}
    )
    with DIRECT.open(request, timeout=30) as answer:
        return json.load(answer)


def accounts(output: str) -> dict[str, tuple[str, str]]:
    """E-mail address and password of each sample account that was printed."""
    return {
        role: (email, password)
        for role, email, password in re.findall(r"^  (\w+) +(\S+@\S+) +(\S+)$", output, re.MULTILINE)
    }


def sign_in_all(port: int, output: str) -> None:
    """Every account that is printed opens with the password that is printed; raises HTTPError."""
    printed = accounts(output)
    assert len(printed) >= 8
    for email, password in printed.values():
        assert call(port, "/v1/sign-ins", {"email": email, "password": password})["access_token"]


def demo(clone: Path, env: Mapping[str, str]) -> str:
    """What `make demo` says."""
    done = subprocess.run(["make", "demo"], cwd=clone, env=env, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr
