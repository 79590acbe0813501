"""Who would be affected by a version of the regulations before it takes effect: the titles each learner gains and
loses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from credentials.domain.credit import Credit
from credentials.domain.eligibility import by_level
from credentials.domain.options import Award
from credentials.domain.regulations import Regulations
from shared.errors import Conflict


class AlreadyInEffect(Conflict):
    """A version that is in force already affects nobody anew."""

    remedy = "Ask about a version that comes into force later."


@dataclass(frozen=True)
class Change:
    """The titles that one learner would gain and lose at one level."""

    level: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]


def changes(
    earned: Iterable[Credit],
    awards: Sequence[Award],
    before: Sequence[Regulations],
    after: Sequence[Regulations],
) -> tuple[Change, ...]:
    """Return the titles a learner gains and loses, for each level at which anything changes.

    `before` are the versions the learner may claim under now, `after` those from the candidate's effect on.
    """
    facts = list(earned)
    then, now = by_level(facts, awards, after), by_level(facts, awards, before)
    found: list[Change] = []
    for level in sorted({*now, *then}):
        old, new = now.get(level, ()), then.get(level, ())
        gained = tuple(title for title in new if title not in old)
        lost = tuple(title for title in old if title not in new)
        if gained or lost:
            found.append(Change(level, gained, lost))
    return tuple(found)
