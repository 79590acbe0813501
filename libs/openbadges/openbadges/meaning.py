"""What a document says, read from the expanded tree that is also signed: the one form in which anything is decided.

Expansion gives every member, type and value one spelling and drops what says nothing. What it leaves open says nothing
in RDF either: order in a set, one value or a list of one, the same value twice. Each of those has one form here, too.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final, cast

from openbadges.contexts import PINNED, context_of
from openbadges.members import id_of, listed, members

Document = dict[str, Any]  # Any: JSON

_DOUBLE: Final = "http://www.w3.org/2001/XMLSchema#double"
_DOUBLES_FROM: Final = 1e21
"""The number from which on JSON-LD writes a whole number as a double, and not as xsd:integer with all its digits."""
_NAME: Final = "https://schema.org/name"


def meaning_of(expanded: object) -> Document:
    """Return the document in the terms of the pinned contexts, each set in one order, and a set of one as that value.

    An IRI for which no context has a term stays an IRI. A text in a language stays an object, and so does a node of
    which only the id is given.
    """
    node = members(next(iter(listed(expanded)), None))
    said = _node(node)
    issuer = said.get("issuer")
    if issuer is not None and "name" not in members(issuer):
        # In RDF, what is said of a node in one place holds in all.
        name = min(_names_of(str(id_of(issuer)), node), default=None)
        if name is not None:
            said["issuer"] = {"id": id_of(issuer), **members(issuer), "name": name}
    return said


def in_terms(value: object) -> object:
    """Return a document that is signed letter by letter, with terms for those types that it names by their IRIs."""
    if isinstance(value, list):
        return [in_terms(entry) for entry in cast("list[object]", value)]
    if not isinstance(value, Mapping):
        return value
    said = {name: in_terms(member) for name, member in members(cast("object", value)).items()}
    if "type" in said:
        kinds = [_types().get(kind, kind) if isinstance(kind, str) else kind for kind in listed(said["type"])]
        said["type"] = kinds if isinstance(said["type"], list) else kinds[0] if kinds else None
    return said


def _node(node: Mapping[str, Any]) -> Document:  # Any: JSON-LD
    said: Document = {"id": node["@id"]} if "@id" in node else {}
    kinds: list[str] = listed(node.get("@type"))
    if kinds:
        said["type"] = sorted({_types().get(kind, kind) for kind in kinds})
    gathered: dict[str, list[object]] = {}
    for iri, entries in node.items():
        if not iri.startswith("@"):
            read = (_value(entry, iri) for entry in listed(entries))
            gathered.setdefault(_members().get(iri, iri), []).extend(value for values in read for value in values)
    for name, values in gathered.items():
        if values:
            said[name] = _one_or_more(values)
    return said


def _value(entry: Mapping[str, Any], iri: str) -> list[object]:  # Any: JSON-LD
    if "@value" in entry:
        value = entry["@value"]
        if isinstance(value, float):
            value = _as_in_rdf(value, entry.get("@type"))
        return [{"@value": value, "@language": entry["@language"]} if "@language" in entry else value]
    if "@list" in entry:
        return [[value for one in entry["@list"] for value in _value(one, iri)]]
    if set(entry) == {"@graph"}:
        return [_node(one) for one in listed(entry["@graph"])]
    if iri in _of_terms():
        return [_types().get(entry["@id"], entry["@id"])]
    return [_node(entry)]


def _as_in_rdf(value: float, kind: object) -> float:
    """Return a number as RDF holds it: a double is signed with sixteen digits, and anybody could change further
    ones."""
    if not value.is_integer() or abs(value) >= _DOUBLES_FROM or kind == _DOUBLE:
        value = float(f"{value:.15E}")
    return int(value) if value.is_integer() else value


def _one_or_more(values: list[object]) -> object:
    """Return a set without repeated values, and a set of one as that value; unnamed nodes are never the same."""
    written = sorted((json.dumps(value, sort_keys=True), n) for n, value in enumerate(values))
    kept = [
        values[n]
        for place, (text, n) in enumerate(written)
        if isinstance(values[n], Mapping) or not place or written[place - 1][0] != text
    ]
    return kept[0] if len(kept) == 1 else kept


def _names_of(name: str, value: object) -> Iterator[str]:
    """Yield the names given to a node, within one graph."""
    for node in map(members, listed(value)):
        if node.get("@id") == name:
            values = (members(one).get("@value") for one in listed(node.get(_NAME)))
            yield from (value for value in values if isinstance(value, str))
        for member, entries in node.items():
            if not member.startswith("@"):
                yield from _names_of(name, entries)


# The terms. One of the pinned contexts' IRIs may be that of a class and of a member, `Image` and `image`: of such terms
# a type is the first in the order of letters, a member the last.


@cache
def _types() -> dict[str, str]:
    return {iri: terms[0] for iri, terms in _terms().items()}


@cache
def _members() -> dict[str, str]:
    return {iri: terms[-1] for iri, terms in _terms().items()}


@cache
def _of_terms() -> set[str]:
    """Return the members whose values are terms themselves."""
    return {iri for _, iri, kind in _all_terms() if kind == "@vocab"}


@cache
def _terms() -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for term, iri, _ in _all_terms():
        if not iri.startswith("@"):
            found.setdefault(iri, set()).add(term)
    return {iri: sorted(terms) for iri, terms in found.items()}


def _all_terms() -> Iterator[tuple[str, str, object]]:
    """Yield each term of the pinned contexts and of those within them, with its IRI and the type of its values."""
    for url in PINNED:
        yield from _defined(context_of(url), {})


def _defined(context: object, around: Mapping[str, object]) -> Iterator[tuple[str, str, object]]:
    for local in listed(context):
        around = {**around, **members(local)}
        for term, definition in members(local).items():
            iri = _iri(_id(definition), around)
            if not term.startswith("@") and iri is not None:
                yield term, iri, members(definition).get("@type")
                yield from _defined(members(definition).get("@context"), around)


def _iri(name: object, around: Mapping[str, object]) -> str | None:
    if not isinstance(name, str) or name.startswith("@"):
        return name if isinstance(name, str) else None
    if name in around:
        return _iri(_id(around[name]), around)
    prefix, colon, rest = name.partition(":")
    if colon and not rest.startswith("//") and prefix in around:
        start = _iri(_id(around[prefix]), around)
        return None if start is None else start + rest
    return name


def _id(definition: object) -> object:
    return definition if isinstance(definition, str) else members(definition).get("@id")
