"""Which titles a learner's totals by subject give: the same set as options.py finds, without choosing the credit.

In closed form over the (own, external) modules by subject. It decides live whether eligibility changed; a rebuild uses
it for every learner, from sums made by the database.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import combinations

from credentials.domain.credit import Credit, countable
from credentials.domain.fillings import most_external
from credentials.domain.options import Award, available_at, titles_held
from credentials.domain.regulations import Level, Regulations
from credentials.domain.titles import Pattern, alphabetical, entitle, patterns

Totals = tuple[tuple[str, int, int], ...]
"""(subject, own modules, external modules), each subject once."""


def totals(available: Iterable[Credit]) -> Totals:
    """Return how many own and external modules there are in each subject."""
    found: dict[str, list[int]] = {}
    for credit in available:
        found.setdefault(str(credit.subject), [0, 0])[credit.external] += 1
    return tuple((subject, own, external) for subject, (own, external) in found.items())


def titles(totals: Totals, level: Level, regulations: Regulations) -> tuple[str, ...]:
    """Return every title that some selection of these totals gives, in the order people see them."""
    modules = level.credits // regulations.module_credits
    # More of a subject than the level takes changes nothing. Capped, many learners share one entry of the cache.
    capped = tuple(sorted((subject, min(own, modules), min(external, modules)) for subject, own, external in totals))
    return _titles(capped, level.rank, regulations)


def by_level(
    earned: Iterable[Credit], awards: Sequence[Award], versions: Sequence[Regulations]
) -> dict[str, tuple[str, ...]]:
    """Return the titles a learner may claim under any of the versions, by level code: those that options.py finds."""
    facts = list(earned)
    found: dict[str, dict[str, None]] = {}
    for regulations in versions:
        counted = countable(facts, regulations).credits
        for level in regulations.levels:
            free = totals(available_at(level, counted, awards))
            taken = titles_held(level, awards)
            at_level = found.setdefault(level.code, {})
            at_level |= dict.fromkeys(title for title in titles(free, level, regulations) if title not in taken)
    return {code: tuple(of_level) for code, of_level in found.items()}


@lru_cache(maxsize=65536)
def _titles(totals: Totals, rank: int, regulations: Regulations) -> tuple[str, ...]:
    level = regulations.levels[rank]
    modules = level.credits // regulations.module_credits
    if sum(own + external for _, own, external in totals) < modules:
        return ()
    ceiling = most_external(level, regulations)
    found: dict[str, tuple[int, tuple[str, str]]] = {}
    for pattern in patterns(level, regulations):
        for largest in totals:
            for named in _names(pattern, largest, totals, modules, ceiling):
                title = entitle(pattern.rule, pattern.rank, named, level)
                place = (pattern.rank, alphabetical(title.text))
                found[title.text] = min(found.get(title.text, place), place)
    return tuple(sorted(found, key=lambda text: found[text]))


def _names(
    pattern: Pattern, largest: tuple[str, int, int], totals: Totals, modules: int, ceiling: int
) -> Iterator[Mapping[str, int]]:
    """Yield the subjects that stand in the title, for each way in which this subject can be the pattern's largest."""
    subject, own, external = largest
    rest = modules - pattern.largest
    if own + external < pattern.largest:
        return
    allowed = ceiling - max(pattern.largest - own, 0)
    named = {subject: pattern.largest} if pattern.rule.named else {}
    others = tuple(one for one in totals if one[0] != subject)
    for choice in (others,) if pattern.or_more else combinations(others, pattern.others):
        if _fewest_external(pattern, rest, choice, allowed) <= allowed:
            # A title of two names has one other subject.
            yield named | {choice[0][0]: rest} if pattern.rule.named > 1 else named


def _fewest_external(pattern: Pattern, rest: int, others: Totals, allowed: int) -> int:
    """Return the least external credit that the other subjects need to give the rest; more than allowed where they
    cannot.

    That many distinct subjects are needed, none giving more than the largest: own credit is taken first, and where too
    few subjects have own credit, one external module from each of the missing ones.
    """
    bound = pattern.largest
    of_any = sum(min(own + external, bound) for _, own, external in others)
    distinct = sum(1 for _, own, external in others if own + external)
    if distinct < pattern.others or of_any < rest:
        return allowed + 1
    with_own = sum(1 for _, own, _ in others if own)
    of_own = sum(min(own, bound) for _, own, _ in others)
    return max(0, pattern.others - with_own, rest - of_own)
