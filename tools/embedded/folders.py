"""The folders of a server: a short private one for sockets beside the data, and a lock against a second server."""

import asyncio
import fcntl
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

from embedded.process import TICK, exists

SOCKET_PATH_LIMIT = 100  # bytes; sun_path holds 104 to 108, by system
OWNED_PATIENCE = 3.0  # seconds; the owner may be ending just now
ORPHAN_PATIENCE = 20.0  # seconds; a server whose owner died may need so long to end in good order


def short(data_dir: Path, entry: str) -> Path:
    """Return a short path without any character to be quoted, the same every time for the same data.

    It is under XDG_RUNTIME_DIR where that will do, else in /tmp. A socket in it named `entry` has a legal length.
    """
    name = "mc-" + hashlib.sha256(f"{os.geteuid()}:{data_dir}".encode()).hexdigest()[:12]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if re.fullmatch(r"/[\w./-]+", runtime, re.ASCII) and _is_ours(Path(runtime)):
        path = Path(runtime) / name
        if len(os.fsencode(path / entry)) < SOCKET_PATH_LIMIT:
            return path
    return Path("/tmp") / name  # noqa: S108 - made private below, and refused when it is not ours


def _is_ours(folder: Path) -> bool:
    """Whether the folder is this user's and writable: `su` without `-` leaves another's in XDG_RUNTIME_DIR.

    PostgreSQL, which runs without root's privilege, could not write there.
    """
    try:
        return folder.is_dir() and folder.stat().st_uid == os.geteuid() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


def make_private(folder: Path, error: type[Exception]) -> None:
    """Create the folder for this user alone, empty; raises `error` where one is there that is not private to them.

    What it holds was left by a server that was killed: the caller has the lock, so none is running.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise error(f"{folder} is not a private folder of ours: remove it")
    for left_over in folder.iterdir():
        left_over.unlink()


async def lock(
    data_dir: Path, what: str, error: type[Exception], *, end_orphan: Callable[[], None] = lambda: None
) -> int:
    """Lock the data for one server. Returns the descriptor that holds the lock while any process has it open.

    A server whose owner is gone is given time to end; where its supervisor was killed as well, `end_orphan` is called.
    Raises `error` when another server keeps the data.
    """
    path = data_dir / "lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        began, asked = asyncio.get_running_loop().time(), False
        while not _locked(descriptor):
            owner = path.read_text().strip()
            owned = owner.isdigit() and int(owner) != os.getpid() and exists(int(owner))
            waited = asyncio.get_running_loop().time() - began
            if not owned and not asked and waited > OWNED_PATIENCE:
                end_orphan()
                asked = True
            if waited > (OWNED_PATIENCE if owned else ORPHAN_PATIENCE):
                raise error(  # noqa: TRY301 - what follows is only the closing
                    f"{what} is already running on {data_dir} (started by process {owner or 'unknown'}): "
                    "use that one, stop it, or choose another folder"
                )
            await asyncio.sleep(TICK * 5)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def remove_short(folder: Path, data_dir: Path) -> None:
    """Remove the short folder, unless another server has been started on the data since."""
    try:
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:  # the data are gone, and nobody serves them
        shutil.rmtree(folder, ignore_errors=True)
        return
    try:
        if _locked(descriptor):
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
