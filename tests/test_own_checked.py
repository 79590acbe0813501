"""Whether a matter is the caller's own is asked on every way through a command: an operation whose command leaves it out
on one of them answers 500 there, after the fact (`Caller.must_have_proven`)."""

import ast
from collections.abc import Iterator

import pytest

from embedded.workspace import NAMES, ROOT
from shared.testing.source import syntax_tree

BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.Match, ast.IfExp)


def on_one_way_only(tree: ast.AST, *, inside: bool = False) -> Iterator[int]:
    """Yield the line of each `refuse_own` that stands in a branch, whose condition may leave it out."""
    for node in ast.iter_child_nodes(tree):
        if inside and isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "refuse_own":
            yield node.lineno
        yield from on_one_way_only(node, inside=inside or isinstance(node, BRANCHES))


@pytest.mark.parametrize("name", NAMES)
def test_no_way_through_a_command_leaves_it_out(name):
    package = ROOT / name if (ROOT / name).is_dir() else ROOT / "services" / name
    modules = sorted((package / name).rglob("*.py"))
    assert modules
    found = {(path.name, line) for path in modules for line in on_one_way_only(syntax_tree(path.read_text()))}
    assert not found


def test_one_in_a_branch_is_found():
    source = "async def f(s):\n    refuse_own(s, 1, 2)\n    if s:\n        refuse_own(s, 1, 2)\n"
    assert list(on_one_way_only(syntax_tree(source))) == [4]
