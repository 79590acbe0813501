"""A program run beside us that ends when we do."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedded import leash

LOG_BYTES = 10_000_000
TICK = 0.01  # seconds between two looks at a process; reads one small file, so it may be short


class Process:
    """A running program on a leash (see leash.py), its output appended to `log`; a log grown long begins anew.

    Starting is synchronous on purpose: there is no moment at which a cancellation could lose the process.
    `inherit` names file descriptors the program keeps open, such as a lock. The folder `leaves` is removed after it,
    if it is empty, whatever became of us.

    Raises OSError when the program cannot be executed.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str],
        ending: signal.Signals,
        cwd: Path | None = None,
        inherit: tuple[int, ...] = (),
        leaves: Path | None = None,
    ) -> None:
        self._log, self._name = log, Path(command[0]).name
        if log.exists() and log.stat().st_size > LOG_BYTES:
            log.replace(log.with_name(f"{log.name}.1"))
        with log.open("ab") as output:
            self._log_start = output.tell()
            self._leash = subprocess.Popen(
                [sys.executable, "-IS", leash.__file__, str(int(ending)), str(leaves or ""), *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(env),
                cwd=cwd,
                pass_fds=inherit,
                start_new_session=True,  # a Ctrl-C in the terminal is for us, not for the program
            )
        assert self._leash.stdout
        with self._leash.stdout as pipe:
            told = pipe.readline()
        if not told:
            self._leash.communicate()
            raise OSError(f"{self._name} could not be started: {self.output()}")
        self.pid = int(told)

    @property
    def running(self) -> bool:
        return self._leash.poll() is None

    def output(self, limit: int = 2000) -> str:
        """The last `limit` bytes the program has written since it was started."""
        with self._log.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(self._log_start, end - limit))
            return log.read().decode(errors="replace").strip()

    async def wait(self) -> int:
        """Wait for the end; 0 is success."""
        while self.running:  # noqa: ASYNC110 - its end wakes nobody
            await asyncio.sleep(TICK)
        return self._leash.wait()

    def let_go(self) -> None:
        """Ask the program to end; the leash sees to it that it does, whatever becomes of us."""
        pipe = self._leash.stdin
        if pipe is None or pipe.closed:
            return
        try:
            # The byte as well as the end: a forked copy of us may hold the pipe open.
            pipe.write(b".")
            pipe.close()
        except BrokenPipeError:
            pipe.close()  # it has ended already

    async def stop(self) -> None:
        """End the program in good order and wait until it has."""
        self.let_go()
        await self.wait()

    async def kill(self) -> None:
        """`kill -9` to the program and all its children, at once."""
        pids = leash.signal_tree(self.pid, signal.SIGKILL)
        await self.stop()
        while any(exists(pid) for pid in pids):  # noqa: ASYNC110 - not our children
            await asyncio.sleep(TICK)

    def freeze(self) -> None:
        """Stop the program and its children where they stand (SIGSTOP): connections stay, nothing answers."""
        leash.signal_tree(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        leash.signal_tree(self.pid, signal.SIGCONT)


def exists(pid: int) -> bool:
    """Whether a process runs. A zombie does not: it only waits for whoever should collect it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")
