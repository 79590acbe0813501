"""What uv's configuration files say of where packages come from, without what they say of where they go.

Prints it as one configuration file. In a table called `pip` uv may be given another target than the environment.
"""

import json
import os
import tomllib
from pathlib import Path
from typing import cast

SOURCES = {
    "allow-insecure-host",
    "cache-dir",
    "extra-index-url",
    "find-links",
    "http-proxy",
    "https-proxy",
    "index",
    "index-strategy",
    "index-url",
    "keyring-provider",
    "native-tls",
    "no-index",
    "no-proxy",
    "offline",
    "system-certs",
}


def files() -> list[Path]:
    """Those that there are, the one that prevails last."""
    if given := os.environ.get("UV_CONFIG_FILE"):
        return [Path(given)]
    at_home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")  # noqa: PTH111 - raises nothing
    folders = [*reversed((os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":")), "/etc", at_home]
    return [file for folder in folders if os.access(file := Path(folder) / "uv/uv.toml", os.R_OK)]


def as_toml(value: object) -> str:
    """A value within one line."""
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(
                f"{json.dumps(name)} = {as_toml(one)}" for name, one in cast("dict[str, object]", value).items()
            )
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, cast("list[object]", value))) + "]"
    return json.dumps(value)


def main() -> None:
    found: dict[str, object] = {}
    for file in files():
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
        for table in (settings, settings.get("pip", {})):
            found |= {name: value for name, value in table.items() if name in SOURCES}
    for name, value in found.items():
        print(f"{name} = {as_toml(value)}")


if __name__ == "__main__":
    main()
