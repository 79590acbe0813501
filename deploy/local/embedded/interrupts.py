"""Ctrl-C for a command that leaves nothing half done: one line, and the end by that signal, wherever it is."""

import os
import signal
import sys
from functools import partial
from types import FrameType


def end_at_ctrl_c(told: str) -> None:
    """From now on. Where Ctrl-C is passed over already (`nohup`, a script's background), it still is."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, partial(_end, told))


def _end(told: str, _number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.flush()
    os.write(2, f"\n{told}\n".encode())
    os.kill(os.getpid(), signal.SIGINT)  # the shell and make learn how it ended
