"""The class of an award: the credit-weighted mean of our own marks, half up to a whole mark."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from credentials.domain.credit import Credit
from credentials.domain.regulations import Regulations


@dataclass(frozen=True)
class Classification:
    """The class of a selection. `mean` is exact, `mark` is the mean rounded half up; both are None where too little of
    the credit has a mark."""

    mean: Fraction | None
    mark: int | None
    label: str


def classify(selection: Iterable[Credit], regulations: Regulations) -> Classification:
    """Return the class of a selection, weighting each mark by its credits. External credit has no mark that counts."""
    points, marked, total = Decimal(0), 0, 0
    for credit in selection:
        total += credit.credits
        if credit.mark is not None and not credit.external:
            marked += credit.credits
            points += credit.mark * credit.credits  # exact: marks have few digits
    if not marked or (marked < total and Fraction(marked, total) < regulations.marked_share_at_least):
        return Classification(None, None, regulations.unclassified)
    above, below = points.as_integer_ratio()
    mean = Fraction(above, below * marked)
    mark = (2 * mean.numerator + mean.denominator) // (2 * mean.denominator)
    band = next(band for band in regulations.bands if mark >= band.at_least)
    return Classification(mean, mark, band.label)
