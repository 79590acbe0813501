"""Which titles a learner's totals by subject give: the same set as options.py finds, without choosing the credit.

Closed form over (own, external) modules by subject. Live it tells whether eligibility changed; a rebuild asks
it for every learner from sums made by the database.
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
    """The modules of credit that may count, by subject."""
    found: dict[str, list[int]] = {}
    for credit in available:
        found.setdefault(str(credit.subject), [0, 0])[credit.external] += 1
    return tuple((subject, own, external) for subject, (own, external) in found.items())


def titles(totals: Totals, level: Level, regulations: Regulations) -> tuple[str, ...]:
    """Every title some selection of so much credit gives, in the order people see them."""
    modules = level.credits // regulations.module_credits
    # More of a subject than the level takes changes nothing: so few totals are told apart, and many learners share one.
    capped = tuple(sorted((subject, min(own, modules), min(external, modules)) for subject, own, external in totals))
    return _titles(capped, level.rank, regulations)


def by_level(
    held: Iterable[Credit], awards: Sequence[Award], versions: Sequence[Regulations]
) -> dict[str, tuple[str, ...]]:
    """What a learner may claim under any of the versions, by level code; the titles options.py finds."""
    facts = list(held)
    found: dict[str, dict[str, None]] = {}
    for regulations in versions:
        counted = countable(facts, regulations).credits
        codes = {level.code for level in regulations.levels}  # a candidate may lack a level that awards were made at
        known = [award for award in awards if award.level in codes]
        for level in regulations.levels:
            free = totals(available_at(level, counted, known, regulations))
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
    """What stands in the title, for each way this subject can be the pattern's largest."""
    subject, own, external = largest
    rest = modules - pattern.largest
    if own + external < pattern.largest:
        return
    allowed = ceiling - max(pattern.largest - own, 0)
    named = {subject: pattern.largest} if pattern.rule.named else {}
    others = tuple(one for one in totals if one[0] != subject)
    for choice in (others,) if pattern.or_more else combinations(others, pattern.others):
        if _fewest_external(pattern, rest, choice, allowed) <= allowed:
            # two names: then the others are one
            yield named | {choice[0][0]: rest} if pattern.rule.named > 1 else named


def _fewest_external(pattern: Pattern, rest: int, others: Totals, allowed: int) -> int:
    """How much external credit the other subjects need at least to give the rest; too much where they cannot.

    So many distinct subjects, none giving more than the largest: own credit first, and where too few subjects
    have own credit, one external each from the missing ones.
    """
    bound = pattern.largest
    of_any = sum(min(own + external, bound) for _, own, external in others)
    distinct = sum(1 for _, own, external in others if own + external)
    if distinct < pattern.others or of_any < rest:
        return allowed + 1
    with_own = sum(1 for _, own, _ in others if own)
    of_own = sum(min(own, bound) for _, own, _ in others)
    return max(0, pattern.others - with_own, rest - of_own)
