"""Checks that every service of services.txt is named wherever a file cannot be derived from that list, and no other.

Prints each missing or surplus entry with its file.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from embedded.workspace import NAMES, ROOT, folder_of


def faults(root: Path = ROOT, names: tuple[str, ...] = NAMES) -> Iterator[str]:
    """Yield a line for each entry that is missing or left over, file by file."""
    behind = {*names} - {"gateway"}
    folders = {file.parent.name for file in (root / "services").glob("*/pyproject.toml")}
    yield from _differences("services.txt", behind, folders, "the folder services/{}")
    locks = {file.stem for file in (root / "requirements").glob("*.txt")} - {"bootstrap", "run", "dev"}
    yield from _differences("requirements", {*names}, locks, "the lock {}.txt (requirements/lock.sh {})")
    readme = {*re.findall(r"^\| \[(?:services/)?(\w+)\]", _text(root / "README.md"), re.MULTILINE)}
    yield from _differences("README.md", {*names}, readme & ({*names} | folders), "a row on [{}]")
    routes = json.loads(_text(root / "gateway/gateway/edge/routes.json"))["routes"]
    served = {route["service"] for route in routes}
    yield from _differences("gateway/gateway/edge/routes.json", {*names}, served, "a route to {}")
    yield from _faults_of_compose(root, names)


def _faults_of_compose(root: Path, names: tuple[str, ...]) -> Iterator[str]:
    compose: Any = yaml.safe_load(_text(root / "docker-compose.yml"))
    services, file = compose["services"], "docker-compose.yml"
    ours = {name for name, one in services.items() if str(one.get("image")).startswith("microcredentials-")}
    wanted = {*names} | {f"{name}-migrate" for name in names}
    yield from _differences(file, wanted, ours, "the service {}")
    feeds = {*json.loads(compose["x-environment"]["MC_FEEDS"])}
    yield from _differences(file, {*names}, feeds, "{} in MC_FEEDS")
    gateways = {*json.loads(services["gateway"]["environment"]["MC_SERVICES"])}
    yield from _differences(file, {*names} - {"gateway"}, gateways, "{} in MC_SERVICES of the gateway")
    for name in names:
        if name in ours and f"{name}-migrate" in ours:
            made = services[f"{name}-migrate"]
            if made["build"]["args"] != {"SERVICE": name, "FOLDER": folder_of(name)}:
                yield f"{file}: {name}-migrate builds another image than that of {folder_of(name)}"


def _differences(file: str, wanted: set[str], found: set[str], what: str) -> Iterator[str]:
    for name in sorted(wanted - found):
        yield f"{file}: {what.replace('{}', name)} is missing"
    for name in sorted(found - wanted):
        yield f"{file}: {what.replace('{}', name)} is of no service in services.txt"


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def main() -> int:
    found = [*faults()]
    for one in found:
        sys.stderr.write(f"{one}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
