"""The journal of a replay: a line for each step done, so that a broken-off run is taken up where it ended."""

import hashlib
import hmac
import json
import secrets
from pathlib import Path
from typing import Any

JSON = dict[str, Any]  # Any: JSON

SECRET = "secret"  # noqa: S105 - the name of an entry


class Journal:
    """The steps done, by name. Each is noted by one write to a file, which outlives a killed process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        self._steps: dict[str, JSON] = {}
        whole = 0
        with path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):  # the write was cut short, so the step does not count as done
                    break
                whole += len(line)
                entry = json.loads(line)
                self._steps[entry["step"]] = entry["done"]
        self._file = path.open("r+b", buffering=0)
        self._file.truncate(whole)
        self._file.seek(whole)
        self.resumed = bool(self._steps)
        if SECRET not in self._steps:
            self.note(SECRET, {"key": secrets.token_hex(16)})

    def find(self, step: str) -> JSON | None:
        return self._steps.get(step)

    def note(self, step: str, done: JSON | None = None) -> JSON:
        entry = done or {}
        self._steps[step] = entry
        self._file.write(json.dumps({"step": step, "done": entry}, separators=(",", ":")).encode() + b"\n")
        return entry

    def password(self, name: str) -> str:
        """Return the password of an account, derived from a secret in this journal."""
        return hmac.new(bytes.fromhex(self._steps[SECRET]["key"]), name.encode(), hashlib.sha256).hexdigest()[:24]

    def close(self) -> None:
        self._file.close()
