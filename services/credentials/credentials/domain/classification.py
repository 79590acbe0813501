"""The class of an award: the credit-weighted mean of our own marks, half up to a whole mark."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from credentials.domain.credit import Credit
from credentials.domain.regulations import Regulations


@dataclass(frozen=True)
class Classification:
    """`mean` is exact; `mark` is it rounded half up; both are None where too little credit has a mark."""

    mean: Fraction | None
    mark: int | None
    label: str


def classify(selection: Iterable[Credit], regulations: Regulations) -> Classification:
    chosen = list(selection)
    marked = [(credit.mark, credit.credits) for credit in chosen if credit.mark is not None and not credit.external]
    total = sum(credit.credits for credit in chosen)
    marked_credits = sum(size for _, size in marked)
    if not marked_credits or Fraction(marked_credits, total) < regulations.marked_share_at_least:
        return Classification(None, None, regulations.unclassified)
    mean = sum((Fraction(mark) * size for mark, size in marked), Fraction(0)) / marked_credits
    mark = floor(mean + Fraction(1, 2))
    band = next(band for band in regulations.bands if mark >= band.at_least)
    return Classification(mean, mark, band.label)
