"""A program run beside this process that ends when this process does."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from embedded import supervise

LOG_BYTES = 10_000_000
TICK = 0.01  # seconds between two checks of a process; each reads one small file, so it may be short


class Process:
    """A running program under a supervisor (supervise.py), its output appended to `log`; a log grown long begins anew.

    Starting is synchronous on purpose: there is no moment at which a cancellation could lose the process.
    `inherit` names file descriptors the program keeps open, such as a lock. The folder `leaves` is removed after it,
    if it is empty, even if this process was killed.

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
            self._supervision = subprocess.Popen(
                [sys.executable, "-IS", supervise.__file__, str(int(ending)), str(leaves or ""), *map(str, command)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                env=dict(env),
                cwd=cwd,
                pass_fds=inherit,
                start_new_session=True,  # a Ctrl-C in the terminal is for this process, not for the program
            )
        assert self._supervision.stdout
        with self._supervision.stdout as pipe:
            printed = pipe.readline()
        if not printed:
            self._supervision.communicate()
            raise OSError(f"{self._name} could not be started: {self.output()}")
        self.pid = int(printed)

    @property
    def running(self) -> bool:
        return self._supervision.poll() is None

    def output(self, limit: int = 2000) -> str:
        """Return the last `limit` bytes the program has written since it was started."""
        with self._log.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(self._log_start, end - limit))
            return log.read().decode(errors="replace").strip()

    async def wait(self) -> int:
        """Wait for the end. Returns the exit status."""
        while self.running:  # noqa: ASYNC110 - nothing notifies of its end
            await asyncio.sleep(TICK)
        return self._supervision.wait()

    def let_go(self) -> None:
        """Ask the program to end; the supervisor sees to it that it does, whatever becomes of this process."""
        pipe = self._supervision.stdin
        if pipe is None or pipe.closed:
            return
        try:
            # The byte as well as the end of the pipe, which a forked copy of this process may hold open.
            pipe.write(b".")
            pipe.close()
        except BrokenPipeError:
            pipe.close()  # it has ended already

    async def stop(self) -> None:
        """End the program in good order and wait until it has."""
        self.let_go()
        await self.wait()

    async def kill(self) -> None:
        """Kill the program and all its children at once, with SIGKILL."""
        pids = supervise.signal_tree(self.pid, signal.SIGKILL)
        await self.stop()
        while any(exists(pid) for pid in pids):  # noqa: ASYNC110 - not our children
            await asyncio.sleep(TICK)

    def freeze(self) -> None:
        """Stop the program and its children (SIGSTOP): connections stay open, nothing answers."""
        supervise.signal_tree(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        supervise.signal_tree(self.pid, signal.SIGCONT)


def exists(pid: int) -> bool:
    """Whether a process runs. A zombie does not: it only waits for its parent to collect it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(b")")[2].split()[0] not in (b"Z", b"X")
