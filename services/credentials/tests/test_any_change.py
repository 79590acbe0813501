"""Any change of a signed credential changes what was signed, is refused, or means nothing to any reader of JSON-LD."""

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openbadges import json_ld
from openbadges.facts import facts_of
from openbadges.verification.parsing import ParsedCredential
from openbadges.verification.report import Kind

from . import test_badges
from .test_forgery import (
    THIN,
    at,
    foreign_badge,
    genuine_badge,
    genuine_record,
    has_same_signature,
    parsed,
    presented,
)
from .test_meaning import known_terms

_POOL = [
    *(f"urn:x:{THIN}y", "_:a", "//badges.example.ac.uk/x", "relative", "urn:x:y", "https://x\n", "", " "),
    *("2099-01-01T00:00:00Z", "true", "15", "name", "Ada", test_badges.DID, "OpenBadgeCredential"),
    *(None, True, False, 0, 15, 15.0, 1e40, [], {}, [None], [[]], {"id": "urn:x:y"}, {"id": f"x:{THIN}"}),
]
_NOTHING = {"@value": None, "@language": "en"}
_VALUE_OBJECTS = [
    *(_NOTHING, {"@value": None}, {"@value": "x"}, {"@value": "x", "@language": ""}, {"@value": "", "@language": "en"}),
    *({"@value": "x", "@language": "EN-gb"}, {"@value": "x", "@language": "e n"}, {"@value": "x", "@language": None}),
    *({"@value": "x", "@direction": "ltr"}, {"@value": True, "@language": "en"}, {"@value": ["x"], "@language": "en"}),
    *({"@value": "true", "@type": "http://www.w3.org/2001/XMLSchema#boolean"}, {"@value": {}, "@type": "@json"}),
    *({"@language": "en"}, {"@set": []}, {"@list": []}, {"@id": None}, {"@type": []}, {"@graph": []}, {"@none": "x"}),
]
_TERMS = [
    *("id", "type", "name", "issuer", "validUntil", "validFrom", "credentialSubject", "credentialStatus", "evidence"),
    *("refreshService", "achievement", "identifier", "identityHash", "result", "value", "partial", "proof", "honours"),
    *("creditsEarned", "hashed", "identityType", "endorsement", "awardedDate", "description", "https://x/y", "@graph"),
]
_MARKS = [" ", THIN, "\t", "\u3000", "\u0085", "\u200b", "2", '"']
_KEYWORDS = ["@id", "@type", "@value", "@set", "@list", "@graph", "@index", "@nest", "@included", "@reverse"]
CHANGES = [
    *("replace", "add", "drop", "wrap", "repeat", "reverse", "copy", "move", "space", "list", "rename"),
    *("pad", "spell", "spell beside", "name", "say", "say in", "shuffle"),
]
_PREFIXES = {
    "obi:": "https://purl.imsglobal.org/spec/vc/ob/vocab.html#",
    "cred:": "https://www.w3.org/2018/credentials#",
    "sec:": "https://w3id.org/security#",
    "clr:": "https://purl.imsglobal.org/spec/vc/clr/vocab.html#",
}


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in entries:
        yield from places(member, (*path, key))


def spelled(term: object, other: int) -> list[str]:
    """Other names of a term: its IRIs and what the contexts' prefixes make of them."""
    iris = sorted(iri for iri, _ in known_terms().get(str(term), ()))
    short = [prefix + iri.removeprefix(start) for iri in iris for prefix, start in _PREFIXES.items() if start in iri]
    found = [*iris, *short]
    return found[other % len(found) :] + found[: other % len(found)] if found else []


def full(kind: str) -> str:
    """The IRI of a type."""
    for prefix, start in _PREFIXES.items():
        if kind.startswith(prefix):
            return start + kind.removeprefix(prefix)
    return next(iter(spelled(kind, 0)), kind)


def change(document: dict, how: str, one: int, other: int) -> None:  # noqa: C901, PLR0912, PLR0915 - a list of ways
    known = list(places(document))[1:]
    if not known:
        return
    path = known[one % len(known)]
    parent, key, value = at(document, path[:-1]), path[-1], at(document, path)
    containers = [status_entry for status_entry in ((), *known) if isinstance(at(document, status_entry), dict)]
    target, term = at(document, containers[other % len(containers)]), _TERMS[other % len(_TERMS)]
    match how:
        case "replace":
            parent[key] = deepcopy(_POOL[other % len(_POOL)])
        case "add":
            target[_TERMS[one % len(_TERMS)]] = deepcopy(_POOL[other % len(_POOL)])
        case "drop":
            del parent[key]
        case "wrap":
            parent[key] = {"id": "urn:x:w", term: value}
        case "list":
            parent[key] = [value]
        case "repeat" if isinstance(parent, list):
            parent.append(deepcopy(value))
        case "reverse" if isinstance(value, list):
            value.reverse()
        case "rename" if isinstance(key, str):
            parent[key + _MARKS[other % len(_MARKS)]] = parent.pop(key)
        case "copy":
            target[term] = deepcopy(value)
        case "move":
            del parent[key]
            target[key if isinstance(key, str) else term] = value
        case "pad":
            entries = value if isinstance(value, list) else [value]
            padding = [deepcopy(_VALUE_OBJECTS[other % len(_VALUE_OBJECTS)])] * (50 if one % 2 else 1)
            parent[key] = [*padding, *entries] if other % 3 else [*entries, *padding]
        case "spell" if isinstance(value, str) and (names := spelled(value, other)):
            parent[key] = names[0]
        case "spell beside" if isinstance(value, str) and (names := spelled(value, other)):
            if isinstance(parent, list):
                parent.insert(other % (len(parent) + 1), names[0])
            else:
                parent[key] = [names[0], value] if other % 2 else [value, names[0]]
        case "name" if isinstance(key, str) and (names := [*spelled(key, other), *_KEYWORDS]):
            parent[names[0] if other % 2 else names[other % len(names)]] = parent.pop(key)
        case "say":
            parent[key] = deepcopy(_VALUE_OBJECTS[other % len(_VALUE_OBJECTS)]) | {"@value": value}
        case "say in":
            parent[key] = {_KEYWORDS[other % len(_KEYWORDS)]: value}
        case "shuffle" if isinstance(value, list):
            value[:] = value[other % (len(value) or 1) :] + value[: other % (len(value) or 1)]
        case "space" if isinstance(value, str):
            cut = other % (len(value) + 1)
            parent[key] = value[:cut] + THIN + value[cut:]
        case _:
            pass


Nodes = dict[str, dict[str, list[str]]]


def normal(value: object, nodes: Nodes, name: str = "") -> object:
    """As every reader of JSON-LD takes it: order in a list, a list of one, and the notation of a number mean nothing.

    What is said of a node goes to `nodes` under its id, wherever it is said: a second place may repeat less of it.
    """
    if isinstance(value, dict):
        members = {
            key: normal(member, nodes, key) for key, member in value.items() if member != [] and key != "@context"
        }
        if not isinstance(members.get("id"), str):
            return members
        texts = nodes.setdefault(members["id"], {})
        for key, member in members.items():
            for entry in member if isinstance(member, list) else [member]:
                text = json.dumps(entry, sort_keys=True)
                unnamed = isinstance(entry, dict) and "id" not in entry
                if unnamed or text not in texts.setdefault(key, []):
                    texts.setdefault(key, []).append(text)
        return {"id": members["id"]}
    if isinstance(value, list):
        entries = [normal(entry, nodes, name) for entry in value]
        return _without_repeats(entries)
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if name == "type" and isinstance(value, str):
        return full(value)
    return value


def _without_repeats(entries: list) -> object:
    """Nodes without a name are each another one; whatever else is repeated is the same."""
    texts: list[str] = []
    for text, entry in sorted(((json.dumps(one, sort_keys=True), one) for one in entries), key=lambda pair: pair[0]):
        if text not in texts or (isinstance(entry, dict) and "id" not in entry):
            texts.append(text)
    kept = [json.loads(text) for text in texts]
    return kept if len(kept) != 1 else kept[0]


def without_mentions(value: object) -> object:
    """Of issuers and images no more than id is read where they are mentioned; who mentions more of them says the same."""
    if isinstance(value, list):
        return [without_mentions(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    if "id" in value and set(value.get("type", [])) <= {"Profile", "Image"}:
        return value["id"]
    return {name: without_mentions(member) for name, member in value.items()}


def understood(found: ParsedCredential) -> Iterator[tuple]:
    """Everything a verdict and a page are made from, of it and of all it holds."""
    says = {name: without_mentions(member) for name, member in found.document.items() if name != "@context"}
    if found.parts:
        says["credentialSubject"] = {**says["credentialSubject"], "verifiableCredential": len(found.parts)}
    yield found.kind, found.checks, facts_of(found.document, found.kind), says, found.signed, found.unsigned
    for part in sorted(found.parts, key=lambda part: str(part.signed)):
        yield from understood(part)


def read(document: dict, found: ParsedCredential) -> tuple:
    """What is shown and judged, to the e-mail, and what the JSON says to any other reader."""
    nodes: Nodes = {}
    tree = normal({key: member for key, member in document.items() if key != "proof"}, nodes)
    return (
        [*understood(found)],
        tree,
        {id_: {key: sorted(texts) for key, texts in one.items()} for id_, one in nodes.items()},
    )


@cache
def presenting_badge() -> dict:
    known = presented(*test_badges.build(test_badges.values(7))["@context"])
    return test_badges.proofs.sign(known, test_badges.SIGNER, test_badges.NOW)


@pytest.mark.parametrize("genuine", [genuine_badge, foreign_badge, genuine_record, presenting_badge])
def test_any_change_of_what_is_read_changes_what_is_signed(genuine) -> None:
    known = genuine()
    original = parsed(known)
    assert original is not None

    @settings(max_examples=250, deadline=None, derandomize=True)  # the same changes in every run of the gate
    @example([("space", 3, 30)])
    @example([("drop", 893, 0)])
    @example([("repeat", 76, 0)])
    @example([("pad", 1, 0)])
    @example([("spell", 5, 0)])
    @given(st.lists(st.tuples(st.sampled_from(CHANGES), st.integers(0, 999), st.integers(0, 999)), min_size=1))
    def holds(changes: list[tuple[str, int, int]]) -> None:
        forged = deepcopy(known)
        for how, one, other in changes[:4]:
            change(forged, how, one, other)
        found = parsed(forged)
        if not has_same_signature(found, original):
            return
        assert found is not None
        assert len(found.parts) == len(original.parts)
        if sorted(str(part.signed) for part in found.parts) != sorted(str(part.signed) for part in original.parts):
            return  # one whose own signature does not fit any more
        assert read(forged, found) == read(known, original), (changes, forged)

    holds()


NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e300, max_value=1e300),
    st.integers(-(2**53), 2**53),
    st.decimals(min_value=0, max_value=1000, places=2).map(float),
)


def with_credits(number: float) -> dict:
    document = {name: member for name, member in foreign_badge().items() if name != "proof"}
    return document | {"credentialSubject": document["credentialSubject"] | {"creditsEarned": number}}


def beside(number: float, steps: int) -> float:
    for _ in range(abs(steps)):
        number = math.nextafter(number, math.inf * steps)
    return number


@settings(max_examples=30, deadline=None)
@given(NUMBERS, NUMBERS, st.integers(-12, 12))
@example(120.5, 0, 1)
@example(0.1, 0, -1)
@example(1e22, 0, 1)
@example(2.0**60, 0, 1)
def test_a_number_is_read_and_shown_as_it_is_signed(one, other, steps) -> None:
    for second in (beside(float(one), steps), float(one), other):
        read = [json_ld.Statement(with_credits(number)) for number in (one, second)]
        if read[0].digest(sha256) == read[1].digest(sha256):
            assert read[0].says == read[1].says, (one, second)
        shown = [facts_of(each.says, Kind.BADGE).credits for each in read]
        assert (shown[0] == shown[1]) is (read[0].says == read[1].says), shown
