"""Supervises a program that must not outlive its parent: `python supervise.py SIGNAL FOLDER program argument…`.

Standard input is a pipe whose other end the parent holds. A byte on it, or its end because the parent is gone (even by
kill -9), ends the program with SIGNAL, and with SIGKILL when that is not enough. Unlike `prctl(PR_SET_PDEATHSIG)` this
works on every Unix and is not tied to the thread that forked. The program's process id is printed in one line. FOLDER,
unless '', is removed afterwards if it is empty. Few imports, since it runs before every start.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

PATIENCE = 15.0  # seconds between SIGNAL and SIGKILL


def tree(root: int) -> list[int]:
    """Return the process `root` and all its descendants, parents first; without /proc only `root`."""
    children: dict[int, list[int]] = {}
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - pathlib is slow to import
    except FileNotFoundError:
        return [root]
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as stat:  # noqa: PTH123 - likewise
                parent = int(stat.read().rpartition(b")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(pid)
    found = [root]
    for pid in found:  # grows while we walk it
        found += children.get(pid, [])
    return found


def signal_tree(root: int, number: int) -> list[int]:
    """Send a signal to `root` and all its descendants. Returns them.

    For SIGKILL and SIGSTOP the root is stopped first, so that it forks no child meanwhile.
    """
    if number in (signal.SIGKILL, signal.SIGSTOP):
        send(root, signal.SIGSTOP)
    pids = tree(root)
    for pid in pids:
        send(pid, number)
    return pids


def send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # gone already
        os.kill(pid, number)


def main(number: int, command: list[str]) -> int:
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, close_fds=False)

    def let_go() -> None:
        os.read(0, 1)
        signal_tree(program.pid, signal.SIGCONT)  # a stopped program handles no other signal
        program.send_signal(number)
        try:
            program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            signal_tree(program.pid, signal.SIGKILL)

    threading.Thread(target=let_go, daemon=True).start()
    with contextlib.suppress(BrokenPipeError):  # the parent is gone already, which standard input shows too
        os.write(1, f"{program.pid}\n".encode())
    return program.wait()


def hold_out(_number: int, _frame: object) -> None:
    """Ignore a signal: only standard input ends this process. Not SIG_IGN, which the program would inherit."""


if __name__ == "__main__":
    for survived in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(survived, hold_out)
    code = abs(main(int(sys.argv[1]), sys.argv[3:]))
    if sys.argv[2]:
        with contextlib.suppress(OSError):
            os.rmdir(sys.argv[2])  # noqa: PTH106 - pathlib is slow to import
    raise SystemExit(code)
