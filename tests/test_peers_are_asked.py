"""Every answer over HTTP is read within bounds: nobody asks httpx but `shared.peers`."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from shared.testing.source import syntax_tree

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in ("services", "gateway", "libs")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not {"tests", "testing", ".venv", "node_modules"} & set(path.relative_to(ROOT).parts)
]
ASKS: Final = {"get", "post", "put", "patch", "delete", "request", "stream", "send"}
MAY: Final = {"libs/shared/shared/peers.py"}


def asked(source: str) -> Iterator[int]:
    """The lines that ask an httpx client (whatever is named `http` or `client`)."""
    for node in ast.walk(syntax_tree(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKS:
            whom = ast.unparse(node.func.value).rpartition(".")[2].strip("_")
            if whom in {"http", "client"} or whom.startswith("AsyncClient("):
                yield node.lineno


def test_nobody_else_asks():
    assert len(SOURCES) > 200
    found = {
        str(path.relative_to(ROOT)): lines
        for path in SOURCES
        if "httpx" in (source := path.read_text()) and (lines := [*asked(source)])
    }
    assert found.keys() <= MAY, found
    assert "libs/shared/shared/peers.py" in found


@pytest.mark.parametrize(
    "source", ["await self._http.get(url)", "client.stream('GET', url)", "self.http.request('A', b)"]
)
def test_the_check_finds(source):
    assert list(asked(f"async def ask():\n    {source}" if "await" in source else source))
