"""The variables of each HTML or SVG template are those it is rendered with: a renamed one is seen before a page is."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader, meta, nodes

from shared.testing.source import syntax_tree

ROOT = Path(__file__).parents[1]
FOLDERS = sorted(
    {path.parent.relative_to(ROOT) for path in ROOT.glob("*/**/templates/*.html") if ".venv" not in path.parts}
)
EVERY = {"_draw": {"width", "margin", "block"}, "_page": {"money"}}
"""What these functions add to the variables they are given."""
CHOSEN = {f"document_{kind}.html": {"view_model", "seal", "qr"} for kind in ("certificate", "parchment", "transcript")}
"""Templates whose name is put together."""
MAPPED = {"document_check.html"}
"""Templates rendered with a mapping made elsewhere: its own tests render each of its states."""


class EveryFilter(dict[str, object]):
    """Knows filters of any name, as only names of variables matter."""

    def get(self, key: str, default: object = None) -> object:
        return super().get(key, default or str)


def environment_of(folder: Path) -> Environment:
    environment = Environment(loader=FileSystemLoader(folder))  # noqa: S701 - nothing is rendered
    environment.filters = EveryFilter(environment.filters)
    return environment


def parsed(environment: Environment, name: str) -> nodes.Template:
    assert environment.loader is not None
    return environment.parse(environment.loader.get_source(environment, name)[0])


def referenced(environment: Environment, name: str) -> set[str]:
    """Return the templates that one extends, includes or imports, and so on."""
    direct = {one for one in meta.find_referenced_templates(parsed(environment, name)) if one is not None}
    return direct.union(*(referenced(environment, one) for one in direct))


def variables(environment: Environment, name: str) -> set[str]:
    """Return the variables of a template and of all it refers to."""
    found: set[str] = set()
    for one in {name, *referenced(environment, name)}:
        tree = parsed(environment, one)
        own = {macro.name for macro in tree.find_all(nodes.Macro)}
        own |= {target.name for target in tree.find_all(nodes.Name) if target.ctx == "store"}
        for imported in tree.find_all(nodes.FromImport):
            own |= {name if isinstance(name, str) else name[1] for name in imported.names}
        found |= meta.find_undeclared_variables(tree) - own
    return found


def renderings(source: str) -> Iterator[tuple[str, set[str]]]:
    """Yield the template and the variables of each call that names both: `get_template("…").render(…)`, `_page("…", …)`."""
    for call in ast.walk(syntax_tree(source)):
        match call:
            case ast.Call(
                func=ast.Attribute(
                    value=ast.Call(func=ast.Attribute(attr="get_template"), args=[ast.Constant(value=str(template))]),
                    attr="render",
                )
            ):
                added: set[str] = set()
            case ast.Call(func=ast.Name(id=helper), args=[ast.Constant(value=str(template)), *_]) if helper in EVERY:
                added = EVERY[helper]
            case _:
                continue
        yield template, {keyword.arg for keyword in call.keywords if keyword.arg} | added


def given(folder: Path) -> Mapping[str, list[set[str]]]:
    """Return the variables of each call that renders a template of a folder."""
    found: dict[str, list[set[str]]] = defaultdict(list)
    for path in (ROOT / folder).parent.rglob("*.py"):
        for template, names in renderings(path.read_text()):
            found[template].append(names)
    return found


@pytest.mark.parametrize("folder", FOLDERS, ids=str)
def test_each_template_is_rendered_with_its_variables(folder):
    environment, calls = environment_of(ROOT / folder), given(folder)
    reached: set[str] = set()
    for name in {*calls, *CHOSEN, *MAPPED} & {*environment.list_templates()}:
        wanted, said = variables(environment, name), set().union(*calls.get(name, ()), CHOSEN.get(name, ()))
        assert name in MAPPED or said >= wanted, name
        assert said - wanted <= set().union(*EVERY.values()), f"{name} does not show all it is given"
        reached |= {name, *referenced(environment, name)}
    assert reached == {name for name in environment.list_templates() if name.endswith((".html", ".svg"))}


def test_a_renamed_variable_is_found(tmp_path):
    (tmp_path / "base.html").write_text("{{ title }}{% block body %}{% endblock %}")
    (tmp_path / "a.html").write_text(
        '{% extends "base.html" %}{% macro b(x) %}{{ x }}{% endmacro %}{{ b(told) | day }}'
    )
    assert variables(environment_of(tmp_path), "a.html") == {"title", "told"}
    source = 'def f(e): return e.get_template("a.html").render(title=1, verdict=2)\ndef g(): return _page("a.html", 200, x=1)'
    assert list(renderings(source)) == [("a.html", {"title", "verdict"}), ("a.html", {"x", "money"})]
