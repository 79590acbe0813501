"""Looks on at what a thread computes: which functions it calls, and how long it does nothing else."""

import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

COSTLY = ("cryptography", "jwt", "pyld", "gzip", "zlib", "json.decoder", "jsonschema", "defusedxml")
OURS = ("issuers", "jose", "parsing", "plain_json", "public_keys", "questions", "reading", "status_checks")


@contextmanager
def computed_here() -> Iterator[set[str]]:
    """The functions called in this thread that compute on what a document holds."""
    found: set[str] = set()

    def look(frame: FrameType, event: str, arg: Any) -> None:  # Any: sys.setprofile's own
        if event == "call":
            module, name = frame.f_globals.get("__name__", ""), frame.f_code.co_name
        elif event == "c_call":
            module, name = str(getattr(arg, "__module__", None)), getattr(arg, "__qualname__", "")
        else:
            return
        ours = module.startswith("openbadges.verification.") and module.rpartition(".")[2] in OURS
        if (
            ours
            or module in {"openbadges.json_ld", "openbadges.coverage"}
            or module.startswith(COSTLY)
            or module == "openbadges.status_lists"
        ):
            found.add(f"{module}.{name}")

    sys.setprofile(look)
    try:
        yield found
    finally:
        sys.setprofile(None)


@contextmanager
def longest_step(monkeypatch: Any) -> Iterator[list[float]]:  # Any: pytest's own
    """Seconds of a processor that single steps of the event loop took in this thread."""
    steps = [0.0]
    run = asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        try:
            run(handle)
        finally:
            steps.append(time.thread_time() - began)

    with monkeypatch.context() as patch:
        patch.setattr(asyncio.Handle, "_run", timed)
        yield steps
