"""The mapping of a registration to what is replayed: two courses, attempts with marks, and how it ends. Pure."""

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
    """How a registration ends."""

    RESULT = "result"
    """The learner hands in work, and it is marked."""
    COOLED_OFF = "cooled_off"
    """The learner takes the money back within the cooling-off period, before anything else."""
    LEFT = "left"
    """The learner withdraws without handing in work."""
    LEFT_AFTER_WORK = "left_after_work"
    """The learner hands in work, and withdraws before it is marked."""
    REFUSED = "refused"
    """The learner has passed the module before, so the platform does not sell it again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a learner does about one registration."""

    registration: Registration
    failed_before: int
    """How many attempts fail before the last one."""
    ending: Ending
    in_two_tabs: bool
    """Whether the learner orders in two tabs at once; the platform must refuse the second order."""

    @property
    def rounds(self) -> int:
        """How many windows the learner takes part in."""
        return 0 if self.ending in (Ending.COOLED_OFF, Ending.REFUSED) else self.failed_before + 1

    def hands_in(self, number: int) -> bool:
        """Whether work is handed in in this round; the first is 1."""
        if number <= self.failed_before:
            return True
        return number == self.rounds and self.ending in (Ending.RESULT, Ending.LEFT_AFTER_WORK)

    def leaves(self, number: int) -> bool:
        return number == self.rounds and self.ending in (Ending.LEFT, Ending.LEFT_AFTER_WORK)

    def outcome(self, number: int) -> Result | None:
        """Return the result of this round; None where the learner withdraws before."""
        if number <= self.failed_before:
            return Result.FAIL
        return self.registration.result if self.ending is Ending.RESULT else None


@dataclass(frozen=True)
class Decisions:
    """The decisions about the mapping that are data (mapping.json)."""

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
    """Return the plans of one learner's registrations, in the order of presentations.

    An earlier attempt that is a registration of its own in the data is not replayed a second time.
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
    """Return the mark of the work of one round in one of the courses; None where the learner withdraws before.

    The last round takes the learner's weighted score, scaled into the band of the result; where there is no score, and
    in earlier rounds, a number that depends on the learner and the work alone.
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
    """Return the work handed in: different for each learner, course and attempt, and the same every time."""
    one = plan.registration
    return (
        f"# Open Studies {one.module}, part {part}\n\n"
        f"Learner {one.learner} of the data set, presentation {one.presentation}, attempt {number}.\n"
    ).encode()


def filled(template: Any, **values: str) -> Any:  # Any: JSON
    """Return the template with `{name}` replaced in every string."""
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
