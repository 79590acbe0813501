"""The folder of one installation's data: private to its owner, files written whole, one platform on it at a time."""

import fcntl
import json
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 1.0  # seconds; a process that asks whether a platform runs holds the lock for a moment


class Unusable(RuntimeError):
    """The data or the machine do not allow a start; the message says what to do."""


def here() -> Path:
    """Return the folder of this installation's data; MC_DATA moves it."""
    return Path(os.environ.get("MC_DATA") or Path(__file__).parents[2] / ".local").absolute()


def make_private(folder: Path) -> None:
    """Create the folder, and all that this process writes from now on, for their owner alone; raises Unusable."""
    os.umask(0o077)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unusable(f"{folder} cannot be made ({error.strerror}): set MC_DATA to a folder of yours") from error
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise Unusable(
            f"{folder} is not yours (it belongs to user {found.st_uid}): run this as that user, have it given to you "
            "(chown -R), or set MC_DATA to a folder of yours"
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise Unusable(f"{folder} is yours but closed to you: open it (chmod u+rwx), or set MC_DATA to another folder")
    # Only an installation of an earlier release is closed; another folder may be shared for its other contents' sake.
    if found.st_mode & 0o077 and (folder / "secrets.json").exists():
        folder.chmod(0o700)


@contextmanager
def running_at(folder: Path, url: str) -> Generator[None]:
    """Lock the data for a platform that runs at this address, until the block or the process ends; raises Unusable."""
    descriptor = os.open(folder / "running", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + PATIENCE
        while not _locked(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                at = os.pread(descriptor, 200, 0).decode()
                raise Unusable(f"a platform is running on {folder} already, at {at}: use that one, or stop it")
            time.sleep(0.02)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, url.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def where_it_runs(folder: Path) -> str | None:
    """Return the address of the platform that runs on these data now; None where none does, also after a kill."""
    try:
        descriptor = os.open(folder / "running", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _locked(descriptor, fcntl.LOCK_SH) else os.pread(descriptor, 200, 0).decode()
    finally:
        os.close(descriptor)


def write_whole(path: Path, content: object) -> None:
    """Write JSON that only its owner may read; after a kill or a power cut the file is wholly the old or the new."""
    beside = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_object(path: Path) -> dict[str, Any]:  # Any: JSON
    """Return the JSON object in the file; raises FileNotFoundError, and Unusable where it holds none."""
    try:
        found: object = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise Unusable(f"{path} is damaged ({error})") from error
    if not isinstance(found, dict):
        raise Unusable(f"{path} is damaged (no JSON object)")
    return found  # pyright: ignore[reportUnknownVariableType] - JSON


def _locked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
