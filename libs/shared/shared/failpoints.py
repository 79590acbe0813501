"""Failpoints: named places where a test kills the process, to prove that nothing depends on surviving them.

`MC_FAILPOINT=<point>[:nth]` works only under `MC_ENV=test`; otherwise a call costs one dictionary look-up.
"""

import os
import signal
from typing import Final

_point, _, _nth = (
    os.environ.get("MC_FAILPOINT", "").partition(":") if os.environ.get("MC_ENV") == "test" else ("", "", "")
)
_left: Final = {_point: int(_nth or 1)} if _point else {}


def failpoint(name: str) -> None:
    """Kill the process if this failpoint is the chosen one and has been passed often enough."""
    if name in _left:
        _left[name] -= 1
        if _left[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
