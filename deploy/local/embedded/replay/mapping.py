"""What becomes of a registration here: two courses, attempts with marks, and how it ends. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from embedded.replay.oulad import HUNDRED, PASSES, Registration, Result


class Ending(StrEnum):
    """What the learner does in the end."""

    RESULT = "result"
    """Hands in, and is marked."""
    COOLED_OFF = "cooled_off"
    """Takes the money back within the cooling-off period, before anything else."""
    LEFT = "left"
    """Withdraws without handing in."""
    LEFT_AFTER_WORK = "left_after_work"
    """Hands in, and withdraws before it is marked."""
    REFUSED = "refused"
    """Has passed the module before: cannot buy it again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a learner does about one registration."""

    registration: Registration
    failed_before: int
    """Attempts that fail before the last one."""
    ending: Ending
    in_two_tabs: bool
    """Orders in two tabs at the same moment; the platform must refuse the second order."""

    @property
    def rounds(self) -> int:
        """How many windows it takes."""
        return 0 if self.ending in (Ending.COOLED_OFF, Ending.REFUSED) else self.failed_before + 1

    def hands_in(self, number: int) -> bool:
        """Whether work is handed in in this round; the first is 1."""
        if number <= self.failed_before:
            return True
        return number == self.rounds and self.ending in (Ending.RESULT, Ending.LEFT_AFTER_WORK)

    def leaves(self, number: int) -> bool:
        return number == self.rounds and self.ending in (Ending.LEFT, Ending.LEFT_AFTER_WORK)

    def outcome(self, number: int) -> Result | None:
        """How the work of this round is judged; None where it is withdrawn first."""
        if number <= self.failed_before:
            return Result.FAIL
        return self.registration.result if self.ending is Ending.RESULT else None


@dataclass(frozen=True)
class Decisions:
    """The decisions that are data."""

    document: Mapping[str, Any]  # Any: JSON

    @property
    def parts(self) -> Sequence[str]:
        return self.document["courses"]

    def band(self, result: Result) -> tuple[Decimal, Decimal]:
        low, high = self.document["marks"][result.value]
        return Decimal(low), Decimal(high)


@cache
def mapping() -> Decisions:
    return Decisions(json.loads((files("embedded.replay") / "mapping.json").read_text(encoding="utf-8")))


def plans(registrations: Iterable[Registration]) -> list[Plan]:
    """What one learner does, in the order of presentations.

    An earlier attempt that is a registration of its own in the data is not made a second time.
    """
    made: list[Plan] = []
    for one in sorted(registrations, key=lambda one: (one.presentation, one.module)):
        earlier = [plan for plan in made if plan.registration.module == one.module]
        passed = any(plan.registration.result in PASSES for plan in earlier)
        late = one.registered_on is not None and one.registered_on >= mapping().document["late_from_day"]
        ending = Ending.REFUSED if passed else _ending(one)
        made.append(
            Plan(
                registration=one,
                failed_before=0
                if ending in (Ending.COOLED_OFF, Ending.REFUSED)
                else max(0, one.previous_attempts - len(earlier)),
                ending=ending,
                in_two_tabs=late and ending is not Ending.REFUSED,
            )
        )
    return made


def _ending(one: Registration) -> Ending:
    if one.result is not Result.WITHDRAWN:
        return Ending.RESULT
    if one.registered_on is not None and one.unregistered_on is not None:
        kept_for = one.unregistered_on - one.registered_on
        if 0 <= kept_for <= mapping().document["cooling_off_days"]:
            return Ending.COOLED_OFF
    began = one.unregistered_on is None or one.unregistered_on > 0
    return Ending.LEFT_AFTER_WORK if began and one.worked else Ending.LEFT


def mark(plan: Plan, number: int, part: str) -> Decimal | None:
    """The mark of the work of one round in one of the courses; None where it is withdrawn before.

    Final results take the learner's weighted score, squeezed into the band of the result; where there is no score,
    and for attempts before, a number that depends on who and what alone.
    """
    result = plan.outcome(number)
    if result is None:
        return None
    chance = Decimal(_number(plan.registration, number, part) % 1001) / 10
    final = number == plan.rounds and plan.registration.score is not None
    if final and plan.registration.score is not None:
        # The parts of a module are marked a little apart.
        score = min(max(plan.registration.score + (chance - HUNDRED / 2) / 10, Decimal(0)), HUNDRED)
    else:
        score = chance
    low, high = mapping().band(result)
    step = Decimal(mapping().document["mark_step"])
    return (low + (high - low) * score / HUNDRED).quantize(step, ROUND_FLOOR)


def work(plan: Plan, number: int, part: str) -> bytes:
    """The work itself: different for each learner, course and attempt, and the same every time."""
    one = plan.registration
    return (
        f"# Open Studies {one.module}, part {part}\n\n"
        f"Learner {one.learner} of the data set, presentation {one.presentation}, attempt {number}.\n"
    ).encode()


def filled(template: Any, **values: str) -> Any:  # Any: JSON
    """The template with `{name}` replaced in every string."""
    if isinstance(template, str):
        return template.format_map(values) if "{" in template else template
    if isinstance(template, list):
        return [filled(item, **values) for item in template]  # pyright: ignore[reportUnknownVariableType] - JSON
    if isinstance(template, dict):
        return {key: filled(value, **values) for key, value in template.items()}  # pyright: ignore[reportUnknownVariableType] - JSON
    return template


def _number(one: Registration, number: int, part: str) -> int:
    who = f"{one.learner} {one.module} {one.presentation} {number} {part}"
    return int.from_bytes(hashlib.sha256(who.encode()).digest()[:8], "big")
