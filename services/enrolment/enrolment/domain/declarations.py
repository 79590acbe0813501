"""Admission by self-certification: the learner affirms both criteria in the wording in force that day."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

from shared.errors import Conflict, Invalid
from shared.regulations import begins


class DeclarationOutdated(Conflict):
    """The wording has changed since it was read: it must be read and affirmed again."""

    remedy = "Read the present wording, then affirm that version."


class CriteriaNotAffirmed(Invalid):
    """Admission needs every criterion affirmed, and no other answers."""

    remedy = "Read the criteria of the declaration and affirm each of them, and no others."


@dataclass(frozen=True)
class Criterion:
    criterion: str
    title: str
    text: str


@dataclass(frozen=True)
class Declaration:
    """One version of the text. Its wording never changes once it is in effect."""

    version: str
    effective_from: datetime
    introduction: str
    criteria: tuple[Criterion, ...]
    statement: str


@dataclass(frozen=True)
class Certificate:
    """What a learner certified: which text, which answers, and a digest of both."""

    version: str
    answers: Mapping[str, bool]
    sha256: str


@cache
def all_declarations() -> tuple[Declaration, ...]:
    folder = files("enrolment") / "declarations"
    documents = [json.loads(file.read_text("utf-8")) for file in folder.iterdir() if file.name.endswith(".json")]
    return tuple(sorted(map(_read, documents), key=lambda declaration: declaration.effective_from))


def current(at: datetime) -> Declaration:
    """Return the wording in force at an instant; before the first one, the first."""
    in_force = [declaration for declaration in all_declarations() if declaration.effective_from <= at]
    return in_force[-1] if in_force else all_declarations()[0]


def certify(version: str, answers: Mapping[str, bool], at: datetime) -> Certificate:
    """Return what a learner certified. Raises DeclarationOutdated unless the version is the one in force, and
    CriteriaNotAffirmed unless every criterion, and nothing else, is affirmed."""
    declaration = current(at)
    if version != declaration.version:
        raise DeclarationOutdated(
            f"the wording in force is {declaration.version}: read and affirm that one", current=declaration.version
        )
    wanted = {criterion.criterion for criterion in declaration.criteria}
    missing = sorted(criterion for criterion in wanted if answers.get(criterion) is not True)
    unknown = sorted(set(answers) - wanted)
    if missing or unknown:
        raise CriteriaNotAffirmed("both admission criteria must be affirmed", not_affirmed=missing, unknown=unknown)
    signed = {
        "version": declaration.version,
        "statement": declaration.statement,
        "criteria": {criterion.criterion: criterion.text for criterion in declaration.criteria},
        "answers": dict(answers),
    }
    canonical = json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return Certificate(version, dict(answers), hashlib.sha256(canonical.encode()).hexdigest())


def _read(document: Mapping[str, Any]) -> Declaration:  # Any: JSON
    return Declaration(
        version=document["version"],
        effective_from=begins(document["effective_from"]),
        introduction=document["introduction"],
        criteria=tuple(Criterion(**criterion) for criterion in document["criteria"]),
        statement=document["statement"],
    )
