"""`make run` where nothing is as it should be: nothing of ours reaches a proxy or a stranger, and it comes up."""

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from embedded import ports

from .newcomer import call, clone_into, demo, environment, make_run, sign_in_all

pytestmark = pytest.mark.slow
FAKETIME = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "faketime" / "libfaketime.so.1"
NOBODY = 65534


class Eavesdropper:
    """Listens on some addresses, keeps what it is sent, and answers nothing."""

    def __init__(self, *addresses: tuple[str, int]) -> None:
        self.received: list[bytes] = []
        self._listeners = [
            socket.create_server(address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            for address in addresses
        ]
        self.port = self._listeners[0].getsockname()[1]
        for listener in self._listeners:
            threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def _listen(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(1)
                try:
                    if said := connection.recv(65536):
                        self.received.append(said)
                except OSError:
                    continue

    def close(self) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


@contextmanager
def listening(*addresses: tuple[str, int]) -> Iterator[Eavesdropper]:
    found = Eavesdropper(*addresses)
    try:
        yield found
    finally:
        found.close()


def _foreign(folder: Path) -> Path:
    """A folder that is another's, and open to all."""
    folder.mkdir()
    folder.chmod(0o777)
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    return folder


def test_the_platform_comes_up_and_keeps_to_itself(tmp_path):
    clone = clone_into(tmp_path / "platform")
    port = ports.suggest(len(ports.NAMES))
    shadow = tmp_path / "shadow"
    shadow.mkdir()
    for name in ("shared", "gateway", "asyncio", "json"):
        (shadow / f"{name}.py").write_text("raise SystemExit('a stranger was imported')\n")
    foreign = _foreign(tmp_path / "foreign")
    with (
        listening(("127.0.0.1", 0)) as proxy,
        listening(*(("::1", one) for one in range(port, port + len(ports.NAMES)))) as stranger,
    ):
        at_proxy = f"http://127.0.0.1:{proxy.port}"
        env = environment(
            port,
            HTTP_PROXY=at_proxy,
            http_proxy=at_proxy,
            HOME="/proc/nowhere",
            XDG_RUNTIME_DIR=str(foreign),
            XDG_CACHE_HOME=str(foreign),
            PYTHONPATH=str(shadow),
            PYTHONHOME="/nowhere",
            PYTHONOPTIMIZE="2",
            PYTHONWARNINGS="error",
            PIP_USER="1",
            UV_SYSTEM_PYTHON="1",
            PGHOST="nowhere.invalid",
            PGPORT="1",
            TZ="Pacific/Kiritimati",
        )
        for name in ("NO_PROXY", "no_proxy"):
            env.pop(name, None)
        with make_run(clone, env, umask=0o777) as start:
            printed = start.until_up()
            assert f"Another program listens on [::1]:{port}" in printed
            assert f"http://127.0.0.1:{port}/docs" in printed
            sign_in_all(port, printed)
            assert "Ada Lovelace holds a PGCert" in demo(clone, env)
            start.ctrl_c()
        assert not proxy.received
        assert not stranger.received
    assert not [*foreign.iterdir()], "something was left in a folder of another's"


def test_a_clock_that_stood_a_day_ahead_leaves_no_trace_once_it_is_right(tmp_path):
    assert FAKETIME.exists(), "this test needs libfaketime: apt-get install faketime"
    clone = clone_into(tmp_path / "platform")
    port = ports.suggest(len(ports.NAMES))
    env = environment(port)
    subprocess.run(["tools/setup.sh", "run"], cwd=clone, env=env, check=True)
    ahead = {**env, "LD_PRELOAD": str(FAKETIME), "FAKETIME": "+1d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    with make_run(clone, ahead) as start:
        start.until_up()
        start.until(lambda: _signed(port) > datetime.min.replace(tzinfo=UTC), "a list is signed")
        assert _signed(port) <= datetime.now(UTC), "PostgreSQL, whose clock is right, decides"
        start.ctrl_c()
    with make_run(clone, env) as start:
        start.until_up()
        printed = demo(clone, env)
        assert "Ada Lovelace holds a PGCert" in printed, printed
        start.ctrl_c()


def _signed(port: int) -> datetime:
    """From when the first status list holds; long ago while there is none."""
    try:
        return datetime.fromisoformat(call(port, "/status/revocation/1")["validFrom"])
    except urllib.error.HTTPError:
        return datetime.min.replace(tzinfo=UTC)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_in_the_private_home_of_another_user_leaves_nothing_that_bars_them():
    home = Path(tempfile.mkdtemp(prefix="home-", dir="/tmp"))
    try:
        clone = clone_into(home / "platform")
        for path in (home, *home.rglob("*")):
            os.chown(path, 4242, 4242, follow_symlinks=False)
        home.chmod(0o700)
        port = ports.suggest(len(ports.NAMES))
        with make_run(clone, environment(port)) as start:
            sign_in_all(port, start.until_up())
            start.ctrl_c()
        assert not [path for path in clone.rglob("*") if path.lstat().st_uid != 4242]
    finally:
        shutil.rmtree(home)
