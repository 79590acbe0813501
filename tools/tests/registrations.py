"""Registrations of nobody, in the shape of the Open University data set: what a replay takes where that is not at hand.

The shares of results, second modules and returning learners are near the real ones; everybody is drawn from one seed.
"""

import csv
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

SEED = 20261201
_PRESENTATIONS = ("2013B", "2013J", "2014B", "2014J")
_MODULES = ("AAA", "BBB", "CCC", "DDD", "EEE")
_RESULTS = {"Pass": 38, "Distinction": 9, "Fail": 22, "Withdrawn": 31}
_SCORES = {"Pass": (45, 85), "Distinction": (80, 100), "Fail": (5, 50), "Withdrawn": (10, 80)}
_KEY = ("code_module", "code_presentation", "id_student")

Row = tuple[object, ...]


def write(folder: Path, *, learners: int = 2000, seed: int = SEED) -> Path:
    """Write the four files a replay reads into `folder`; the same seed gives the same bytes. Returns the folder."""
    chance = random.Random(seed)  # noqa: S311 - nothing secret is drawn
    folder.mkdir(parents=True, exist_ok=True)
    assessments = {
        (module, presentation): (2 * number + 1, 2 * number + 2)
        for number, (module, presentation) in enumerate((m, p) for m in _MODULES for p in _PRESENTATIONS)
    }
    info: list[Row] = []
    registered: list[Row] = []
    scored: list[Row] = []
    for learner in range(1, learners + 1):
        for module, presentation, before in _studies(chance):
            result = chance.choices(list(_RESULTS), weights=list(_RESULTS.values()))[0]
            on, off = _days(chance, withdrawn=result == "Withdrawn")
            key = (module, presentation, learner)
            info.append((*key, before, result))
            registered.append((*key, on, "?" if off is None else off))
            if off is None or (off > 0 and chance.random() < 0.5):
                low, high = _SCORES[result]
                scored += [(one, learner, chance.randint(low, high)) for one in assessments[module, presentation]]
    weighted = [
        (*of, one, weight) for of, both in assessments.items() for one, weight in zip(both, (40, 60), strict=True)
    ]
    _file(folder, "assessments", ("code_module", "code_presentation", "id_assessment", "weight"), weighted)
    _file(folder, "studentAssessment", ("id_assessment", "id_student", "score"), scored)
    _file(folder, "studentInfo", (*_KEY, "num_of_prev_attempts", "final_result"), info)
    _file(folder, "studentRegistration", (*_KEY, "date_registration", "date_unregistration"), registered)
    return folder


def _studies(chance: random.Random) -> Iterator[tuple[str, str, int]]:
    """Module, presentation and attempts before: mostly one registration, at times a return or a second module."""
    module = chance.choice(_MODULES)
    first = chance.randrange(len(_PRESENTATIONS))
    before = chance.choices((0, 1, 2, 3, 4), weights=(87, 9, 2, 1, 1))[0]
    yield module, _PRESENTATIONS[first], before
    later = _PRESENTATIONS[first + 1 :]
    if later and chance.random() < 0.1:
        yield module, chance.choice(later), before + 1
    if chance.random() < 0.1:
        another = chance.choice([one for one in _MODULES if one != module])
        yield another, chance.choice(_PRESENTATIONS), 0


def _days(chance: random.Random, *, withdrawn: bool) -> tuple[int, int | None]:
    """Registered and, if so, withdrawn on, in days from the beginning of the presentation."""
    on = chance.randint(-150, -5) if chance.random() < 0.95 else chance.randint(1, 20)
    if not withdrawn:
        return on, None
    return on, on + chance.randint(1, 13) if chance.random() < 0.15 else chance.randint(max(on, -30) + 14, 200)


def _file(folder: Path, name: str, head: Sequence[str], rows: Sequence[Row]) -> None:
    with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
