"""Whether the RDF of a document, which is what is signed, holds just what its JSON says, which is what is read.

A JSON reader and the conversion to RDF differ in five ways, each of which was used to forge: what no context defines or
what is no absolute IRI vanishes in RDF; so does a null, and a value object that holds one; a node described in two
places is one in RDF; lists within lists and repeated entries are flat in RDF; "true" and true are one literal. Every
document that leaves room for one of them is refused, and the statements counted in the tree must all be in the data
set. What is left open then (order, the spelling of a type) decides nothing: `meaning` reads the expanded tree itself.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any, Final, cast

from openbadges.errors import Invalid
from openbadges.members import id_of, listed, members
from openbadges.signable import IRI

Document = Mapping[str, Any]  # Any: JSON

MOST_DEPTH: Final = 24
UNDEFINED: Final = "urn:undefined-term:"
"""The vocabulary into which terms fall that no context defines."""

_NODE, _LITERAL = {"@id", "@type", "@graph"}, {"@value", "@type", "@language"}
_NUMERIC = {"boolean", "integer", "nonNegativeInteger", "positiveInteger", "decimal", "double", "float", "int", "long"}
_KNOWN_BY_ID = {"Profile", "Image"}
_OF_ONE_KNOWN = {"id", "type", "name", "url", "image", "description", "email", "phone", "official", "caption"}
_READ = {"credentialSubject", "achievement"}
_IN_A_LANGUAGE = ("@value", "@language")
_LANGUAGE = re.compile(r"[A-Za-z]{1,8}(-[A-Za-z0-9]{1,8})*")
"""A language tag (BCP 47), as N-Quads writes it."""
_PARTS = ("credentialSubject", "verifiableCredential")
_ENDORSEMENT = {"id", "type", "endorsementComment"}


class UndefinedTerms(Invalid):
    """Some members would not be covered by the signature."""


class Ambiguous(Invalid):
    """The signature would fit another document too, which reads otherwise."""


class NotCanonical(Invalid):
    """No JSON-LD document, or one built to make canonicalisation slow."""


def check_spelling(document: Document, check_contexts: Callable[[Document], object]) -> None:
    """Check that the JSON could not be spelled otherwise with the same RDF. Raises UndefinedTerms, Ambiguous,
    NotCanonical.

    Only a credential within the credential may name contexts of its own, which `check_contexts` checks. The credentials
    inside a learner record are each signed by themselves, so what they say is not compared with what the record says.
    """
    _Spelling(document, check_contexts).check(document, (), inside=False)


def uncovered(names: Iterable[str]) -> UndefinedTerms:
    """Return the error for names that the signature does not cover."""
    named = sorted(name.removeprefix(UNDEFINED)[:200] for name in names)
    return UndefinedTerms(f"the signature would not cover {', '.join(map(repr, named[:5]))}", terms=named[:20])


class _Spelling:
    def __init__(self, document: Document, check_contexts: Callable[[Document], object]) -> None:
        self._check_contexts = check_contexts
        self._top = document.get("id")
        self._issuer = id_of(document.get("issuer"))
        self._said: dict[str, str] = {}
        self._named: dict[str, object] = {}

    def check(self, value: object, path: tuple[str, ...], *, inside: bool, depth: int = 0) -> None:
        """Check a value. `path`: the members that lead to it; `inside`: it is in a credential that a learner record
        holds."""
        if depth > MOST_DEPTH:
            raise NotCanonical("the document is nested too deeply")
        if value is None:
            raise Ambiguous(f"the member {path[-1][:80]} has no value: what is not said is left out")
        if isinstance(value, list):
            entries = cast("list[object]", value)
            _check_entries(entries, path)
            for entry in entries:
                self.check(entry, path, inside=inside, depth=depth + 1)
        elif _is_in_a_language(value):
            return  # in RDF a text with a language differs from a plain one
        elif isinstance(value, Mapping):
            inside = inside or path == _PARTS
            self._check_node(cast("Document", value), path, inside=inside, depth=depth)

    def _check_node(self, node: Document, path: tuple[str, ...], *, inside: bool, depth: int) -> None:
        is_credential = depth == 0 or "credentialSubject" in node or path[-1] == _PARTS[-1]
        if depth and is_credential and "@context" in node:
            self._check_contexts(node)
        if not inside:
            self._check_said_once(node, path)
        if "@direction" in node:
            raise UndefinedTerms(
                "a direction of writing (@direction) is in no RDF, so no signature covers it", terms=["@direction"]
            )
        for name, member in node.items():
            if name == "@context" and is_credential:
                continue
            if name.startswith("@") or ":" in name or not IRI.fullmatch(f"term:{name}"):
                raise uncovered([name])
            self.check(member, (*path, name), inside=inside, depth=depth + 1)

    def _check_said_once(self, node: Document, path: tuple[str, ...]) -> None:
        """Check that a node is described in one place, or everywhere alike.

        Of issuers and images little more than the id is read, so a mere mention of one, which says no more than that,
        may differ. One that is read as subject or achievement is no mere mention.
        """
        name = node.get("id")
        if not isinstance(name, str) or not path:
            return
        if name == self._top:
            raise UndefinedTerms("the credential is described twice", terms=["id"])
        if path[-1] not in _READ and self._is_known_by_id(node):
            named = node.get("name")
            if named is not None and self._named.setdefault(name, named) != named:
                raise Ambiguous(f"the id {name[:200]} is named in two places, and not alike")
            return
        if path[-1] == "related" and set(node) <= {"id", "type"}:
            return
        if path[-2:] == ("endorsement", "credentialSubject") and set(node) <= _ENDORSEMENT:
            return
        said = json.dumps(node, sort_keys=True)
        if self._said.setdefault(name, said) != said:
            raise Ambiguous(f"the id {name[:200]} is described in two places, and not alike")

    def _is_known_by_id(self, node: Document) -> bool:
        kinds = listed(node.get("type")) or (["Profile"] if node["id"] == self._issuer else [""])
        return set(node) <= _OF_ONE_KNOWN and all(kind in _KNOWN_BY_ID for kind in kinds)


def _is_in_a_language(value: object) -> bool:
    """Return whether a value is a text with a language, well formed: the one form of value object that is accepted.

    Expansion silently drops value objects that hold null.
    """
    text, language = (members(value).get(name) for name in _IN_A_LANGUAGE)
    well_formed = isinstance(text, str) and isinstance(language, str) and _LANGUAGE.fullmatch(language)
    return set(members(value)) == set(_IN_A_LANGUAGE) and bool(well_formed)


def _check_entries(entries: list[object], path: tuple[str, ...]) -> None:
    names: set[object] = set()
    for entry in entries:
        if isinstance(entry, list):
            raise Ambiguous(f"the member {path[-1][:80]} holds a list within a list")
        name = members(entry).get("id")
        if isinstance(name, str):
            if name in names:
                raise Ambiguous(f"the member {path[-1][:80]} holds {name[:200]} more than once")
            names.add(name)


class Statements:
    """The statements an expanded document makes, as RDF must hold them, and the names in it that RDF does not hold."""

    def __init__(self, expanded: object) -> None:
        self._found: set[tuple[object, ...]] = set()
        self._unnamed = count()
        self.uncovered: list[str] = []
        for node in listed(expanded):
            self._node(members(node), "")

    def __len__(self) -> int:
        return len(self._found)

    def _node(self, node: Mapping[str, Any], graph: str) -> str:  # Any: JSON-LD
        self.uncovered += [name for name in node if name.startswith("@") and name not in _NODE]
        name = self._iri(node["@id"]) if "@id" in node else self._blank()
        for kind in listed(node.get("@type")):
            self._found.add((graph, name, "@type", self._iri(kind)))
        for term, items in node.items():
            if not term.startswith("@"):
                for item in listed(items):
                    self._found.add((graph, name, self._iri(term), self._object(item, graph)))
        for inner in listed(node.get("@graph")):
            self._node(inner, name)
        return name

    def _object(self, item: Mapping[str, Any], graph: str) -> object:  # Any: JSON-LD
        if "@value" in item:
            return self._literal(item)
        if "@list" in item:
            places = [self._blank() for _ in item["@list"]]
            for place, entry, following in zip(places, item["@list"], [*places[1:], "nil"], strict=True):
                self._found |= {(graph, place, "first", self._object(entry, graph)), (graph, place, "rest", following)}
            return places[0] if places else "nil"
        return self._node(item, graph)

    def _literal(self, item: Mapping[str, Any]) -> tuple[str, ...]:  # Any: JSON-LD
        value, datatype = item["@value"], item.get("@type")
        self.uncovered += [name for name in item if name not in _LITERAL]
        if datatype not in {None, "@json"}:
            kind = re.split("[#:]", self._iri(datatype))[-1]
            if isinstance(value, str) is (kind in _NUMERIC):
                self.uncovered.append(str(value))
        return ("literal", json.dumps(value, sort_keys=True), str(datatype), str(item.get("@language")))

    def _iri(self, name: object) -> str:
        if not isinstance(name, str) or not IRI.fullmatch(name):
            self.uncovered.append(str(name))
        return str(name)

    def _blank(self) -> str:
        return f"_ {next(self._unnamed)}"
