"""Who commits, what may write, and what is said before it has happened: read off the syntax tree of the services and the
gateway."""

import ast
from importlib import import_module
from pathlib import Path

import pytest

from embedded.services import NAMES
from shared.testing.source import syntax_tree

ENDS = {"commit", "rollback", "begin"}
"""What begins or ends a transaction. A savepoint (`begin_nested`) is within one."""
NOT_OF_A_DATABASE = {("gateway", "edge/proxy.py", "begin")}
"""An exchange with a service begins."""
READS = {"get", "head"}


def modules(name):
    root = Path(import_module(name).__path__[0])
    for path in sorted(root.rglob("*.py")):
        yield str(path.relative_to(root)), syntax_tree(path.read_text())


def ends_of_transactions(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ENDS:
            yield node.func.attr


def reading_routes(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef):
            calls = (one.func for one in node.decorator_list if isinstance(one, ast.Call))
            if any(isinstance(one, ast.Attribute) and one.attr in READS for one in calls):
                yield node


def takes(function):
    every = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
    return {ast.unparse(one.annotation) for one in every if one.annotation is not None}


def lines_before_the_commit(tree):
    """What is logged in functions that are given a transaction by whoever ends it."""
    for function in ast.walk(tree):
        if isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef) and "AsyncSession" in takes(function):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("log."):
                    yield ast.unparse(node.args[0])


@pytest.mark.parametrize("name", NAMES)
def test_only_what_opened_a_transaction_ends_it(name):
    """A command that must wait for somebody outside says so by a function of `shared.sessions`."""
    found = {(name, where, word) for where, tree in modules(name) for word in ends_of_transactions(tree)}
    assert found <= NOT_OF_A_DATABASE


@pytest.mark.parametrize("name", NAMES)
def test_who_reads_is_given_a_session_that_cannot_write(name):
    routes = [(where, route) for where, tree in modules(name) for route in reading_routes(tree)]
    assert routes
    wrong = {(where, route.name) for where, route in routes if takes(route) & {"Session", "AsyncSession"}}
    assert wrong == set()


@pytest.mark.parametrize("name", [*NAMES, "shared"])
def test_what_a_transaction_does_is_logged_once_it_is_committed(name):
    """By `log_once_committed`: else the log says of what was rolled back that it was done."""
    found = [(where, line) for where, tree in modules(name) for line in lines_before_the_commit(tree)]
    assert found == []


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_came_whole_is_recorded_despite_contention_and_heals_the_one_it_repeats(name):
    """Whoever has sent all bytes of a file does not send them again because others were at the same rows."""
    called = {where: names_called(tree) for where, tree in modules(name)}
    receiving = {
        where for where, names in called.items() if "receive" in names and where.startswith(("command", "exch"))
    }
    assert {where for where in receiving if not {"despite_contention", "received_before"} <= called[where]} == set()
    assert bool(receiving) == (name in {"assessment", "enrolment", "credentials"})


def names_called(tree):
    calls = (node.func for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {func.id for func in calls if isinstance(func, ast.Name)}


def test_the_words_are_found_where_they_stand():
    tree = syntax_tree("async def pay(session):\n    await session.commit()\n    await session.begin_nested()\n")
    assert [*ends_of_transactions(tree)] == ["commit"]
    tree = syntax_tree("@router.get('/v1/x')\nasync def read(session: Session, *, at: Clock): ...\n")
    assert [takes(route) for route in reading_routes(tree)] == [{"Session", "Clock"}]
    tree = syntax_tree("async def accept(session: AsyncSession, by: str):\n    log.warning('accepted')\n")
    assert [*lines_before_the_commit(tree)] == ["'accepted'"]
