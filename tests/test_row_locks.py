"""No row is locked against those that refer to it.

An inserted row holds `for key share` on what its foreign keys name until it is committed, and newcomers overtake
whoever waits for `for update`: under a steady stream of them that lock is never given. `for no key update` excludes all
who change the row, and nobody else.

Nor are several rows locked in any order: two transactions that do would wait for each other.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from shared.testing.source import syntax_tree

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in ("services", "gateway", "libs", "tools")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not {"tests", ".venv", "node_modules"} & set(path.relative_to(ROOT).parts)
]
WHOLE: Final = {
    ("gateway/gateway/commands/accounts.py", "erase_account"): "the key changes, and sessions under way must be seen",
}
"""Where `for update` is meant, and why."""

ONE_ROW: Final = {
    ("services/assessment/assessment/commands/boards.py", "_take_its_place"): "unique: learner and module",
    ("services/assessment/assessment/commands/windows.py", "hold_open"): "by its key",
    ("services/assessment/migrations/versions/2026_12_01_one_part_each.py", "upgrade"): "by its key",
    ("services/credentials/credentials/exchange/queries/sharing.py", "share_by_secret"): "unique: the secret",
    ("services/payments/payments/queries/payments.py", "payment_by_reference"): "unique: provider and reference",
    ("libs/shared/shared/messaging/history.py", "accept"): "the table has one",
}
"""Locks without an order that need none."""
ORDERED_ELSEWHERE: Final = {
    ("services/assessment/assessment/commands/submissions.py", "_record"): "`attempts_of`",
}

_NAMES: Final = {"read", "key_share"}
_LOCK: Final = re.compile(r"\bfor\s+update\b", re.IGNORECASE)
"""In a statement; docstrings may speak of it."""


def whole_locks(source: str) -> Iterator[tuple[str, int]]:
    """The function and line of each lock that shuts out those who refer to the row."""
    yield from _of(syntax_tree(source), "")


def _of(node: ast.AST, function: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
            if child.func.attr == "with_for_update" and not {word.arg for word in child.keywords} & _NAMES:
                yield function, child.lineno
        elif isinstance(child, ast.keyword) and child.arg == "with_for_update":
            given = child.value.body if isinstance(child.value, ast.IfExp) else child.value
            names = {getattr(key, "value", None) for key in given.keys} if isinstance(given, ast.Dict) else set()
            if not names & _NAMES:
                yield function, child.value.lineno
        elif isinstance(child, ast.Constant) and not isinstance(node, ast.Expr) and _LOCK.search(str(child.value)):
            yield function, child.lineno
        yield from _of(child, function)


_ROWS_LOCKED: Final = re.compile(r"\bfor\s+no\s+key\s+update\b(?!\s+(?:skip\s+locked|nowait)\b)", re.IGNORECASE)
_ORDERED: Final = re.compile(r"\border\s+by\b", re.IGNORECASE)


def unordered_locks(source: str) -> Iterator[tuple[str, int]]:
    """The function and line of each lock upon whatever rows a condition finds that waits for others and states no order
    of its own. Rows that are got by their key are one."""
    yield from _unordered_in(syntax_tree(source), "", ordered=False)


def _unordered_in(node: ast.AST, function: str, *, ordered: bool) -> Iterator[tuple[str, int]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = node.name
        ordered = any(isinstance(one, ast.Attribute) and one.attr == "order_by" for one in ast.walk(node))
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute):
            skips = any(word.arg in {"skip_locked", "nowait"} for word in child.keywords)
            if child.func.attr == "with_for_update" and not ordered and not skips:
                yield function, child.lineno
        elif isinstance(child, ast.Constant) and not isinstance(node, ast.Expr) and _is_unordered(str(child.value)):
            yield function, child.lineno
        yield from _unordered_in(child, function, ordered=ordered)


def _is_unordered(statement: str) -> bool:
    return _ROWS_LOCKED.search(statement) is not None and _ORDERED.search(statement) is None


def test_several_rows_are_locked_in_one_order():
    found = {
        (str(path.relative_to(ROOT)), function): line
        for path in SOURCES
        for function, line in unordered_locks(path.read_text())
    }
    assert found.keys() == ONE_ROW.keys() | ORDERED_ELSEWHERE.keys(), found


@pytest.mark.parametrize(
    "source",
    [
        "select(Row).where(a).with_for_update(key_share=True)",
        "select(Row).where(a).with_for_update(read=True)",
        "text('select 1 from rows where a for no key update')",
    ],
)
def test_the_check_finds_what_has_no_order(source):
    assert list(unordered_locks(f"async def lock():\n    {source}")) == [("lock", 2)]


@pytest.mark.parametrize(
    "source",
    [
        "session.get(Row, key, with_for_update={'key_share': True})",
        "select(Row).order_by(Row.key).with_for_update(key_share=True)",
        "select(Row).with_for_update(key_share=True, skip_locked=True)",
        "text('select 1 from rows order by key for no key update')",
        "text('select 1 from rows limit 1 for no key update skip locked')",
    ],
)
def test_the_check_lets_through_what_has_an_order(source):
    assert list(unordered_locks(f"async def lock():\n    {source}")) == []


def test_no_row_is_locked_against_those_that_refer_to_it():
    assert len(SOURCES) > 200
    found = {
        (str(path.relative_to(ROOT)), function): line
        for path in SOURCES
        for function, line in whole_locks(path.read_text())
    }
    assert found.keys() == WHOLE.keys(), found


@pytest.mark.parametrize(
    "source",
    [
        "session.get(Row, key, with_for_update=True)",
        "session.get(Row, key, with_for_update=True if lock else None)",
        "session.get(Row, key, with_for_update={'nowait': True})",
        "select(Row).with_for_update()",
        "select(Row).where(a).with_for_update(skip_locked=True).limit(1)",
        "text('select 1 from rows where a for update')",
        "text(f'select 1 from {rows} order by a for  update skip locked')",
    ],
)
def test_the_check_finds(source):
    assert list(whole_locks(f"async def lock():\n    {source}")) == [("lock", 2)]


@pytest.mark.parametrize(
    "source",
    [
        "session.get(Row, key, with_for_update={'key_share': True} if lock else None)",
        "select(Row).with_for_update(read=True)",
        "select(Row).with_for_update(key_share=True, skip_locked=True)",
        "text('select 1 from rows for no key update')",
    ],
)
def test_the_check_lets_through(source):
    assert list(whole_locks(source)) == []
