"""Ctrl-C for a command that may be broken off anywhere: it prints one line and ends by that signal."""

import os
import signal
import sys
from functools import partial
from types import FrameType


def end_at_ctrl_c(message: str) -> None:
    """Print `message` and end by SIGINT at Ctrl-C, from now on; where SIGINT is ignored (`nohup`), it still is."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, partial(_end, message))


def _end(message: str, _number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.stdout.flush()
    os.write(2, f"\n{message}\n".encode())
    os.kill(os.getpid(), signal.SIGINT)  # so that the shell and make see how it ended
