"""Any change of a signed credential changes what was signed, is refused, or means nothing to any reader of JSON-LD."""

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openbadges import json_ld, proofs
from openbadges.facts import facts_of
from openbadges.verification.parsing import ParsedCredential
from openbadges.verification.report import Kind

from .badges import NOW, SIGNER, build, values
from .changes import (
    _PREFIXES,
    CHANGES,
    change,
    spelled,
)
from .forged import (
    foreign_badge,
    genuine_badge,
    genuine_record,
    has_same_signature,
    parsed,
    presented,
)


def full(kind: str) -> str:
    """The IRI of a type."""
    for prefix, start in _PREFIXES.items():
        if kind.startswith(prefix):
            return start + kind.removeprefix(prefix)
    return next(iter(spelled(kind, 0)), kind)


Nodes = dict[str, dict[str, list[str]]]


def normal(value: object, nodes: Nodes, name: str = "") -> object:
    """As every reader of JSON-LD takes it: order in a list, a list of one, and the notation of a number mean nothing.

    What is said of a node goes to `nodes` under its id, wherever it is said: a second place may repeat less of it.
    """
    if isinstance(value, dict):
        members = {
            key: normal(member, nodes, key) for key, member in value.items() if member != [] and key != "@context"
        }
        id_ = members.get("id")
        if not isinstance(id_, str):
            return members
        texts = nodes.setdefault(id_, {})
        for key, member in members.items():
            for entry in member if isinstance(member, list) else [member]:
                text = json.dumps(entry, sort_keys=True)
                unnamed = isinstance(entry, dict) and "id" not in entry
                if unnamed or text not in texts.setdefault(key, []):
                    texts.setdefault(key, []).append(text)
        return {"id": id_}
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


def without_mentions(value: Any) -> Any:  # Any: JSON
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
    """What is shown and judged, to the letter, and what the JSON says to any other reader."""
    nodes: Nodes = {}
    tree = normal({key: member for key, member in document.items() if key != "proof"}, nodes)
    return (
        [*understood(found)],
        tree,
        {id_: {key: sorted(texts) for key, texts in one.items()} for id_, one in nodes.items()},
    )


@cache
def presenting_badge() -> dict:
    known = presented(*build(values(7))["@context"])
    return proofs.sign(known, SIGNER, NOW)


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
