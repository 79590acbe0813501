"""Checks the import contracts of pyproject.toml, in which `<services>` stands for every service of services.txt."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from embedded.workspace import BEHIND_THE_GATEWAY, ROOT


def expanded(contracts: str, services: Sequence[str]) -> str:
    """Return the text with each `"<services>.part"` replaced by one name for each service, `"payments.part", …`."""
    return re.sub(r'"<services>([^"]*)"', lambda found: ", ".join(f'"{one}{found[1]}"' for one in services), contracts)


def main() -> int:
    text = expanded((ROOT / "pyproject.toml").read_text(encoding="utf-8"), BEHIND_THE_GATEWAY)
    with tempfile.NamedTemporaryFile("w", suffix=".toml", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        linter = Path(sys.executable).with_name("lint-imports")
        return subprocess.run([linter, "--no-logo", "--config", file.name], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
