"""Reads the Open University data set: who registered for what, what they scored and how it ended."""

import csv
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache
from pathlib import Path

HUNDRED = Decimal(100)
UNKNOWN = frozenset({"", "?"})


class DataSetError(ValueError):
    """The folder does not hold the data set; the message names the file and what is wrong with it."""


class Result(StrEnum):
    PASS = "Pass"  # noqa: S105 - a final result, as the data set spells it
    DISTINCTION = "Distinction"
    FAIL = "Fail"
    WITHDRAWN = "Withdrawn"


PASSES = frozenset({Result.PASS, Result.DISTINCTION})


@dataclass(frozen=True, slots=True)
class Registration:
    """One learner on one presentation of a module. Days count from the beginning of the presentation."""

    module: str
    presentation: str
    learner: int
    result: Result
    previous_attempts: int
    registered_on: int | None
    unregistered_on: int | None
    score: Decimal | None
    """The weighted mean of the marked work, 0 to 100; None where there is none."""
    worked: bool
    """Whether some work was handed in."""


def read(folder: Path) -> list[Registration]:
    """Read every registration, in the order of presentation, module and learner; raises DataSetError."""
    days = {
        _key(row): (_day(row["date_registration"]), _day(row["date_unregistration"]))
        for row in _rows(folder, "studentRegistration.csv", "date_registration", "date_unregistration", *_KEY)
    }
    scores = _scores(folder)
    found: list[Registration] = []
    for row in _rows(folder, "studentInfo.csv", "num_of_prev_attempts", "final_result", *_KEY):
        key = _key(row)
        score = scores.get(key)
        registered_on, unregistered_on = days.get(key, (None, None))
        module, presentation, learner = key
        found.append(
            Registration(
                module=module,
                presentation=presentation,
                learner=_number(learner, "studentInfo.csv"),
                result=_result(row["final_result"]),
                previous_attempts=_number(row["num_of_prev_attempts"], "studentInfo.csv"),
                registered_on=registered_on,
                unregistered_on=unregistered_on,
                score=score.mean if score else None,
                worked=score is not None,
            )
        )
    return sorted(found, key=lambda one: (one.presentation, one.module, one.learner))


def first_learners(registrations: Iterable[Registration], count: int) -> dict[int, list[Registration]]:
    """Return so many learners with all their registrations, in order.

    They are the same every time, as mixed as the whole is, and among those of every higher count.
    """
    everybody: dict[int, list[Registration]] = {}
    for registration in registrations:
        everybody.setdefault(registration.learner, []).append(registration)
    chosen = sorted(everybody, key=lambda learner: hashlib.sha256(str(learner).encode()).digest())[:count]
    return {learner: everybody[learner] for learner in chosen}


_KEY = ("code_module", "code_presentation", "id_student")
Key = tuple[str, str, str]


def _key(row: Mapping[str, str]) -> Key:
    return row["code_module"], row["code_presentation"], row["id_student"]


@dataclass(slots=True)
class _Score:
    weighted: Decimal = Decimal(0)
    weights: Decimal = Decimal(0)
    plain: Decimal = Decimal(0)
    count: int = 0

    def add(self, score: Decimal, weight: Decimal) -> None:
        self.weighted += score * weight
        self.weights += weight
        self.plain += score
        self.count += 1

    @property
    def mean(self) -> Decimal | None:
        """The mean weighted by assessment; in modules whose work has no weight, the plain mean."""
        if self.weights:
            return self.weighted / self.weights
        return self.plain / self.count if self.count else None


def _scores(folder: Path) -> dict[Key, _Score]:
    assessments = {
        row["id_assessment"]: (row["code_module"], row["code_presentation"], _decimal(row["weight"]))
        for row in _rows(folder, "assessments.csv", "id_assessment", "code_module", "code_presentation", "weight")
    }
    scores: dict[Key, _Score] = {}
    for row in _rows(folder, "studentAssessment.csv", "id_assessment", "id_student", "score"):
        if row["id_assessment"] not in assessments:
            raise DataSetError(f"studentAssessment.csv names assessment {row['id_assessment']}, which is unknown")
        module, presentation, weight = assessments[row["id_assessment"]]
        score = scores.setdefault((module, presentation, row["id_student"]), _Score())
        if row["score"] not in UNKNOWN:
            score.add(_decimal(row["score"]), weight)
    return scores


def _rows(folder: Path, name: str, *columns: str) -> Iterator[dict[str, str]]:
    try:
        with (folder / name).open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            missing = sorted(set(columns) - set(rows.fieldnames or ()))
            if missing:
                raise DataSetError(f"{folder / name} has no column {', '.join(missing)}")
            yield from rows
    except FileNotFoundError as error:
        raise DataSetError(f"there is no {folder / name}") from error


_decimal = cache(Decimal)  # a hundred scores and a few weights, 173,912 times


def _day(text: str) -> int | None:
    return None if text in UNKNOWN else _number(text, "studentRegistration.csv")


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise DataSetError(f"{name}: {text!r} is no number") from error


def _result(text: str) -> Result:
    try:
        return Result(text)
    except ValueError as error:
        raise DataSetError(f"studentInfo.csv: {text!r} is no final result") from error
