"""Tests can be moved: what several of them use stands in a module of its own beside them, or in a conftest."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.testing.source import syntax_tree

ROOT = Path(__file__).parents[1]
FOLDERS = [
    folder
    for pattern in ("tests", "gateway/tests", "tools/tests", "tools/template/tests", "libs/*/tests", "services/*/tests")
    for folder in sorted(ROOT.glob(pattern))
]


def imported_tests(source: str) -> Iterator[str]:
    """The modules of tests that a module imports."""
    for node in ast.walk(syntax_tree(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [name.name for name in node.names]
            for path in (*names, getattr(node, "module", None) or ""):
                yield from (part for part in path.split(".") if part.startswith("test_"))


def test_no_module_imports_a_module_of_tests():
    modules = [path for folder in FOLDERS for path in sorted(folder.rglob("*.py")) if "node_modules" not in path.parts]
    assert len(modules) > 300
    found = {str(path.relative_to(ROOT)): names for path in modules if (names := [*imported_tests(path.read_text())])}
    assert found == {}, "move what they share into a module of its own"


@pytest.mark.parametrize(
    "source",
    [
        "from .test_reviews import decide",
        "from . import test_reviews",
        "def test():\n    from services.credentials.tests.test_reviews import decide",
        "import test_reviews as reviews",
    ],
)
def test_the_check_finds(source):
    assert [*imported_tests(source)] == ["test_reviews"]
