"""Checks every service's migrations: one head a branch, forward only, and no statement that locks a busy table."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from embedded.services import NAMES, versions_of
from shared.migrate import configuration

EXCLUDED = (
    "prefer-robust-stmts",  # each migration is one transaction
    "require-lock-timeout",  # shared.migrate sets both time-outs for all of them
    "require-statement-timeout",
    "require-timeout-settings",
    "require-concurrent-index-deletion",  # it takes an instant, and the time-outs bound the wait for its lock
    "prefer-bigint-over-int",  # small numbers are small; keys are UUIDs or bigint
    "prefer-text-field",
)


def main() -> int:
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in NAMES:
            wrong += _check(name, Path(folder))
    for one in wrong:
        sys.stderr.write(f"{one}\n")
    return 1 if wrong else 0


def _check(name: str, folder: Path) -> list[str]:
    config = configuration(versions_of(name))
    script = ScriptDirectory.from_config(config)
    wrong = [
        f"{name}: {revision.revision} can go back; migrations only go forward"
        for revision in script.walk_revisions()
        if hasattr(revision.module, "downgrade")
    ]
    if len(script.get_heads()) != len(script.get_bases()):
        wrong.append(f"{name}: a branch has two heads: {script.get_heads()}")
    printed = io.StringIO()
    config.output_buffer = printed
    with contextlib.redirect_stdout(io.StringIO()):
        command.upgrade(config, "heads", sql=True)
    path = folder / f"{name}.sql"
    path.write_text(printed.getvalue())
    squawk = Path(sys.executable).with_name("squawk")
    lint = subprocess.run(
        [squawk, "--exclude", ",".join(EXCLUDED), path],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    if lint.returncode:
        wrong.append(f"{name}: {lint.stdout}")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
