"""Order and comparison in SQL stand on columns, never on their text.

`order by` takes the name of an output column before that of a table's: `select xid::text as xid … order by xid` puts
1000 before 999, and a cursor of that order skips rows.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.testing.source import syntax_tree

ROOT = Path(__file__).parents[1]
SOURCES = [
    path
    for folder in ("services", "gateway", "libs", "tools", "bench")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not {"tests", ".venv", "node_modules"} & set(path.relative_to(ROOT).parts)
]
KINDS = r"(?:text|varchar|json|jsonb)\b(?!\s*(?:::|\[))"
BECOMES_TEXT = rf"::\s*{KINDS}"
A_CAST = re.compile(r"cast\s*\(([^()]*(?:\([^()]*\)[^()]*)*?)\s+as\s+([\w\[\]]+)\s*\)", re.IGNORECASE)
ALIAS = re.compile(rf'{BECOMES_TEXT}\s+as\s+"?(\w+)', re.IGNORECASE)
ENDS = re.compile(r"\b(?:limit|offset|for\s+(?:no\s+key\s+)?update|union|returning)\b|;", re.IGNORECASE)
COMPARED = re.compile(
    rf"{BECOMES_TEXT}\s*(?:<=?|>=?)(?!>)|(?<![-<>=@#])(?:<=?|>=?)(?!>)\s*(?:[:$]?[\w.]+)\s*{BECOMES_TEXT}",
    re.IGNORECASE,
)


def faults_of_sql(sql: str) -> Iterator[str]:
    """What a statement orders or compares by a text."""
    before = None
    while before != sql:  # one notation for both, from the inside out
        before, sql = sql, A_CAST.sub(r"\1::\2", sql)
    texts = {name.lower() for name in ALIAS.findall(sql)}
    for found in re.finditer(r"\border\s+by\s", sql, re.IGNORECASE):
        for item in _items(sql[found.end() :]):
            name = re.split(r"\s", item.strip(), maxsplit=1)[0].strip('"').lower()
            if re.search(BECOMES_TEXT, item, re.IGNORECASE):
                yield f"ordered by a text: {item.strip()}"
            elif name in texts:
                yield f"ordered by an output column that is a text: {name}"
    for found in COMPARED.finditer(sql):
        yield f"compared as a text: {found[0].strip()}"


def _items(rest: str) -> list[str]:
    """Of an `order by`, to the end of its list."""
    depth, end = 0, len(rest)
    for deployment, sign in enumerate(rest):
        depth += (sign == "(") - (sign == ")")
        if depth < 0 or (depth == 0 and ENDS.match(rest, deployment)):
            end = deployment
            break
    return re.split(r",(?![^(]*\))", rest[:end])


def faults_of_python(source: str) -> Iterator[str]:
    for node in ast.walk(syntax_tree(source)):
        for sql in _statements(node):
            yield from (f"line {getattr(node, 'lineno', 0)}: {fault}" for fault in faults_of_sql(sql))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "order_by":
            for argument in node.args:
                written = ast.unparse(argument)
                if re.search(r"\bcast\(|\bastext\b|\bText\b|\bString\b|\bliteral_column\(", written):
                    yield f"line {node.lineno}: ordered by a text: {written}"
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield f"line {node.lineno}: ordered by the name of an output column: {written}"


def _statements(node: ast.AST) -> Iterator[str]:
    """A literal that holds SQL; what is put into one counts as a name."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "something" for part in node.values)


def test_nothing_is_ordered_or_compared_by_a_text():
    assert len(SOURCES) > 200
    faults = [f"{path.relative_to(ROOT)}, {fault}" for path in SOURCES for fault in faults_of_python(path.read_text())]
    assert faults == []


@pytest.mark.parametrize(
    "statement",
    [
        "select xid::text as xid, position from outbox order by xid, position limit 5",
        "select position, cast(xid as text) as xid from outbox order by position, xid desc",
        "select cast(cast(xid as varchar) as text) as x from outbox order by x",
        "select 1 from credits order by mark * credits desc, credit_id::text",
        "select row_number() over (partition by a order by cast(number as text)) from t",
        "select array_agg(a order by b::text desc) from t",
        "select 1 from outbox where xid::text > :after",
        "select 1 from outbox where cast(xid as text) <= $1",
        "select 1 from outbox where xid > $1::text",
        "select data->>'n' from t order by (data->'n')::text",
    ],
)
def test_the_check_finds(statement):
    assert list(faults_of_sql(statement))
    assert list(faults_of_python(f"query = text({statement!r})"))


@pytest.mark.parametrize(
    "statement",
    [
        "select xid::text::bigint as xid, position from outbox order by outbox.xid, position",
        "select one.xid, cast(one.xid as text) as shown from outbox one order by one.xid limit 5",
        "select 1 from outbox where (xid, position) > (cast(cast(:xid as text) as xid8), cast(:position as bigint))",
        "select a::text as a from t group by b; select c from u order by c",
        "select unnest(:ids::text[]) as id order by id",
        "select data->>'n' as n from t where b = c::text order by b",
    ],
)
def test_the_check_lets_through(statement):
    assert list(faults_of_sql(statement)) == []


def test_the_check_finds_what_sqlalchemy_orders_by_a_text():
    for call in ("order_by('xid')", "order_by(cast(Row.xid, Text))", "order_by(Row.data['n'].astext.desc())"):
        assert list(faults_of_python(f"select(Row).{call}"))
    assert list(faults_of_python("select(Row).order_by(Row.xid, Row.position.desc())")) == []
