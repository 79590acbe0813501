"""Who is affected before a version of the regulations takes effect: which titles each learner gains and loses."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from credentials.domain import eligibility
from credentials.domain.credit import Credit, countable
from credentials.domain.options import Award, available_at, titles_held
from credentials.domain.regulations import Regulations
from shared.errors import Conflict


class AlreadyInEffect(Conflict):
    """A version that is in force already affects nobody anew."""


@dataclass(frozen=True)
class Change:
    """What one learner may claim at one level after, and not before, or the other way round."""

    level: str
    gained: tuple[str, ...]
    lost: tuple[str, ...]


def titles_by_level(
    held: Iterable[Credit], awards: Sequence[Award], versions: Sequence[Regulations]
) -> dict[str, tuple[str, ...]]:
    """The titles that may be claimed under any of the versions, by level code, in their order."""
    facts = list(held)
    found: dict[str, dict[str, None]] = {}
    for regulations in versions:
        counted = countable(facts, regulations).credits
        for level in regulations.levels:
            known_to_it = [award for award in awards if _has_level(award, regulations)]
            totals = eligibility.totals(available_at(level, counted, known_to_it, regulations))
            known = titles_held(level, awards)
            at_level = found.setdefault(level.code, {})
            for title in eligibility.titles(totals, level, regulations):
                if title not in known:
                    at_level[title] = None
    return {code: tuple(titles) for code, titles in found.items()}


def changes(
    held: Iterable[Credit],
    awards: Sequence[Award],
    before: Sequence[Regulations],
    after: Sequence[Regulations],
) -> tuple[Change, ...]:
    """Per level, where anything changes: the versions the learner may claim under now, and those from then on."""
    facts = list(held)
    then, now = titles_by_level(facts, awards, after), titles_by_level(facts, awards, before)
    found: list[Change] = []
    for level in sorted({*now, *then}):
        old, new = now.get(level, ()), then.get(level, ())
        gained = tuple(title for title in new if title not in old)
        lost = tuple(title for title in old if title not in new)
        if gained or lost:
            found.append(Change(level, gained, lost))
    return tuple(found)


def _has_level(award: Award, regulations: Regulations) -> bool:
    """A candidate may do without a level that awards were made at."""
    return any(level.code == award.level for level in regulations.levels)
