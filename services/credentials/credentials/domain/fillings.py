"""The best selection for each title, by taking credit in order.

Complete over all selections without listing them: the patterns of a level (titles.py) are finite, and what
fills a pattern forms the bases of a matroid (so many of the largest subject; of the others at most as many
each, from at least so many subjects), for which taking the best first is best.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from credentials.domain.credit import Credit
from credentials.domain.regulations import Level, Regulations
from credentials.domain.titles import Pattern, Title, entitle, patterns

Cost = tuple[int, ...]
"""What to minimise in a selection, the most important first."""


@dataclass(frozen=True)
class Filling:
    """A title, and the selection of credit that is best for it."""

    title: Title
    selection: list[Credit]


def fillings(
    available: Sequence[Credit],
    level: Level,
    regulations: Regulations,
    *,
    wanted: Callable[[Title], bool] = lambda _: True,
    cost: Callable[[Credit], Cost] | None = None,
) -> Iterator[Filling]:
    """Yield, for each pattern and each choice of subjects it leaves open, the best credit that fills it.

    `available` comes best first. Where external credit is not the last in that order, `cost` gives the worth of each
    credit: external credit beyond the ceiling is then exchanged for the credit that raises the cost least.
    """
    by_subject: dict[str, list[Credit]] = {}
    for credit in available:
        by_subject.setdefault(str(credit.subject), []).append(credit)
    modules = level.credits // regulations.module_credits
    ceiling = most_external(level, regulations)
    external = {credit.id for credit in available if credit.external}
    for pattern in patterns(level, regulations):
        for largest, of_largest in by_subject.items():
            if len(of_largest) < pattern.largest:
                continue
            for choice in _choices(pattern, [subject for subject in by_subject if subject != largest]):
                title = _title(pattern, largest, choice, modules, level)
                if not wanted(title):
                    continue
                rest = _take(pattern, modules - pattern.largest, choice, by_subject, available)
                if rest is None:
                    continue
                selection: list[Credit] | None = of_largest[: pattern.largest] + rest
                if external and sum(credit.id in external for credit in selection) > ceiling:
                    selection = _exchange(selection, pattern, largest, choice, by_subject, ceiling, cost)
                if selection is not None:
                    yield Filling(title, selection)


def most_external(level: Level, regulations: Regulations) -> int:
    """Return how many modules from elsewhere may stand in an award of this level."""
    return int(regulations.external_max_share * level.credits / regulations.module_credits)


def by_name(selection: Sequence[Credit]) -> dict[str, int]:
    """Return the number of modules by subject."""
    modules: dict[str, int] = {}
    for credit in selection:
        modules[str(credit.subject)] = modules.get(str(credit.subject), 0) + 1
    return modules


def _choices(pattern: Pattern, others: list[str]) -> Iterator[tuple[str, ...]]:
    if pattern.or_more:
        if len(others) >= pattern.others:
            yield tuple(others)
    else:
        yield from combinations(others, pattern.others)


def _title(pattern: Pattern, largest: str, choice: Sequence[str], modules: int, level: Level) -> Title:
    named = {largest: pattern.largest} if pattern.rule.named else {}
    if pattern.rule.named > 1:  # a single other subject: both names stand in the title
        named[choice[0]] = modules - pattern.largest
    return entitle(pattern.rule, pattern.rank, named, level)


def _take(
    pattern: Pattern,
    modules: int,
    subjects: Sequence[str],
    by_subject: Mapping[str, Sequence[Credit]],
    available: Sequence[Credit],
) -> list[Credit] | None:
    """Return the best modules from these subjects: at least the pattern's number of subjects, none giving more than the
    largest; None where there are too few.

    The top credits of the best subjects are in some best filling: any other subject's top could be exchanged for one of
    them.
    """
    if len(subjects) == 1:
        only = by_subject[subjects[0]]
        return list(only[:modules]) if modules <= min(len(only), pattern.largest) else None
    used = dict.fromkeys(subjects, 0)
    taken: dict[str, Credit] = {}
    for credit in available:
        if len(taken) >= pattern.others:
            break
        if used.get(str(credit.subject)) == 0:
            taken[credit.id] = credit
            used[str(credit.subject)] = 1
    if len(taken) < pattern.others:
        return None
    for credit in available:
        if len(taken) >= modules:
            break
        subject = str(credit.subject)
        if credit.id not in taken and used.get(subject, pattern.largest) < pattern.largest:
            taken[credit.id] = credit
            used[subject] += 1
    return list(taken.values()) if len(taken) == modules else None


def _exchange(
    selection: Sequence[Credit],
    pattern: Pattern,
    largest: str,
    choice: Sequence[str],
    by_subject: Mapping[str, Sequence[Credit]],
    ceiling: int,
    cost: Callable[[Credit], Cost] | None,
) -> list[Credit] | None:
    """Return a selection of the same pattern with no more external credit than the ceiling, or None where there is
    none.

    One cheapest exchange after another is best for each number of external credits on the way: H. N. Gabow and R. E.
    Tarjan, Efficient algorithms for a family of matroid intersection problems (1984).
    """
    if cost is None:
        return None
    chosen = {credit.id: credit for credit in selection}
    while sum(credit.external for credit in chosen.values()) > ceiling:
        best: tuple[Cost, Credit, Credit] | None = None
        out = {str(credit.subject): credit for credit in chosen.values() if credit.external}
        into = {
            subject: next((one for one in by_subject[subject] if not one.external and one.id not in chosen), None)
            for subject in (largest, *choice)
        }
        modules = by_name(list(chosen.values()))
        for leaving in out.values():
            for coming in into.values():
                if coming is None or not _fits(modules, leaving, coming, pattern, largest):
                    continue
                dearer = tuple(new - old for new, old in zip(cost(coming), cost(leaving), strict=True))
                if best is None or (dearer, coming.id) < (best[0], best[2].id):
                    best = (dearer, leaving, coming)
        if best is None:
            return None
        del chosen[best[1].id]
        chosen[best[2].id] = best[2]
    return list(chosen.values())


def _fits(modules: Mapping[str, int], leaving: Credit, coming: Credit, pattern: Pattern, largest: str) -> bool:
    after = dict(modules)
    after[str(leaving.subject)] -= 1
    after[str(coming.subject)] = after.get(str(coming.subject), 0) + 1
    others = [count for subject, count in after.items() if subject != largest and count]
    spread = len(others) >= pattern.others and max(others, default=0) <= pattern.largest
    return after[largest] == pattern.largest and spread
