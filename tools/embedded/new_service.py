"""Makes a service from `tools/template`, and adds it wherever services are listed: `make service NAME=…`."""

import keyword
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from embedded.workspace import ROOT

TEMPLATE: Final = ROOT / "tools" / "template"
WORD: Final = "newservice"
"""The word in the template that stands for the service's name."""
LONGEST: Final = 20

COMPOSED: Final = """\
  NAME-migrate:
    <<: *service
    image: microcredentials-NAME
    build: {context: ., dockerfile: deploy/docker/Dockerfile, args: {SERVICE: NAME, FOLDER: services/NAME}}
    command: [migrate]
    restart: on-failure
    healthcheck: {disable: true}
    environment: &NAME
      <<: *environment
      MC_DATABASE_URL: postgresql+asyncpg://mc_NAME:${MC_SERVICES_PASSWORD:?}@postgres/mc_NAME
    depends_on:
      postgres: {condition: service_healthy}

  NAME:
    <<: *service
    image: microcredentials-NAME
    environment: *NAME
    depends_on:
      <<: *stores
      NAME-migrate: {condition: service_completed_successfully}

"""

ENTRIES: Final = (
    ("services.txt", r"\Z", "NAME\n"),
    ("README.md", r"(?m)^(?=\| \[gateway\])", "| [services/NAME](services/NAME) | say what it is for |\n"),
    (
        "gateway/gateway/edge/routes.json",
        r"(?<=\})(?=\n  \]\n\}\s*\Z)",
        ',\n    {"prefix": "/v1/NAME", "service": "NAME"}',
    ),
    ("docker-compose.yml", r'(?="gateway": "http://gateway:8001"\})', '"NAME": "http://NAME:8000", '),
    ("docker-compose.yml", r'(?m)(?<=:8000")(?=\}$)', ', "NAME": "http://NAME:8000"'),
    ("docker-compose.yml", r"(?m)^(?=  gateway-migrate:$)", COMPOSED),
)
"""By file: a regular expression for the position at which an entry is inserted, and the entry."""


class Refused(Exception):
    """The service cannot be made; the message says why."""


def check(name: str, root: Path = ROOT) -> None:
    """Check that a package, a database, a host and addresses can have this name; raises Refused."""
    if not re.fullmatch(rf"[a-z]{{3,{LONGEST}}}", name) or keyword.iskeyword(name):
        raise Refused(f"{name!r} is no name for a service: 3 to {LONGEST} small letters, like catalogue")
    if name == WORD or (root / "services" / name).exists() or find_spec(name) is not None:
        raise Refused(f"{name} is the name of a package that is there already")
    if f'"/v1/{name}"' in (root / "gateway/gateway/edge/routes.json").read_text(encoding="utf-8"):
        raise Refused(f"/v1/{name} leads to another service already")


def copy(name: str, folder: Path, today: str) -> None:
    """Copy the template into the folder, with its placeholder replaced by this name."""
    for file in sorted(TEMPLATE.rglob("*")):
        if file.is_dir() or "__pycache__" in file.parts:
            continue
        inner = str(file.relative_to(TEMPLATE)).replace(WORD, name).replace("DATE", today)
        made = folder / inner
        made.parent.mkdir(parents=True, exist_ok=True)
        text = file.read_text(encoding="utf-8").replace(WORD, name).replace(WORD.capitalize(), name.capitalize())
        made.write_text(text, encoding="utf-8")


def with_entries(name: str, root: Path = ROOT) -> dict[Path, str]:
    """Return the text of each file that lists services, with this one's entries; raises Refused where none fits."""
    texts: dict[Path, str] = {}
    for file, place, entry in ENTRIES:
        path = root / file
        text = texts.get(path) or path.read_text(encoding="utf-8")
        texts[path], count = re.subn(place, lambda _, entry=entry: entry.replace("NAME", name), text)
        if count != 1:
            raise Refused(f"{file} is not as this program knows it: {count} places for {entry.strip()[:40]!r}")
    return texts


def make(name: str) -> None:
    """Make the service, lock and install its dependencies, and write the documents anew; raises Refused."""
    check(name)
    texts, folder = with_entries(name), ROOT / "services" / name
    copy(name, folder, datetime.now(UTC).strftime("%Y_%m_%d"))
    bin_, lock = Path(sys.executable).parent, ROOT / "requirements" / f"{name}.txt"
    try:
        # Another name changes the order of imports and the length of lines.
        _run([bin_ / "ruff", "check", "--quiet", "--fix", "--select", "I", folder])
        _run([bin_ / "ruff", "format", "--quiet", folder])
        _run(["requirements/lock.sh", name])
    except Refused:
        shutil.rmtree(folder)
        lock.unlink(missing_ok=True)
        raise
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    _run(["tools/setup.sh", "dev", sys.executable, "-m", "embedded.documents"])


def _run(command: Sequence[str | Path]) -> None:
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        raise Refused(f"{' '.join(map(str, command))} failed")


def main(arguments: Sequence[str]) -> int:
    name = arguments[0] if arguments else ""
    try:
        make(name)
    except Refused as refused:
        sys.stderr.write(f"{refused}\n")
        return 1
    print(f"services/{name} is there. Its tests: .venv/bin/python -m pytest services/{name}; see it run: make run")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
