"""Credit: which of it may count, and in which order of preference."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from credentials.domain.regulations import Regulations


class CreditStatus(StrEnum):
    """Where a learner's pass or credit stands.

    - `provisional`: released to the learner, not yet ratified by the board: a pass that is not credit yet.
    - `ratified`: credit that may count.
    - `revoked`: the board took it back.
    - `held`: its money went back; it counts for nothing new until staff let it stand.
    - `committed`: a partner accepted it for a degree that is not conferred yet.
    - `consumed`: a degree elsewhere was conferred on it.
    """

    PROVISIONAL = "provisional"
    RATIFIED = "ratified"
    REVOKED = "revoked"
    HELD = "held"
    COMMITTED = "committed"
    CONSUMED = "consumed"


class Source(StrEnum):
    INTERNAL = "internal"
    EXTERNAL = "rpl_external"
    """Recognised from another institution; it has no mark here."""


@dataclass(frozen=True)
class Credit:
    """Credit that a board gave for one passed module. `subject` is the award name, as it stands in titles."""

    id: str
    family: str
    subject: str | None
    credits: int
    level: int
    mark: Decimal | None
    passed_at: datetime
    status: CreditStatus = CreditStatus.RATIFIED
    source: Source = Source.INTERNAL

    @property
    def external(self) -> bool:
        return self.source is Source.EXTERNAL

    @property
    def weight(self) -> Decimal:
        """The credit's part in a weighted mean, in mark times credits; 0 for credit without a mark of ours."""
        return Decimal(0) if self.mark is None or self.external else self.mark * self.credits


def preference(credit: Credit) -> tuple[Decimal, bool, datetime, str]:
    """Return a sort key that puts the credit to count first to the front: best mark, then our own, then the earliest
    pass."""
    return (-credit.weight, credit.external, credit.passed_at, credit.id)


@dataclass(frozen=True)
class Countable:
    """The credit that may count towards an award, best first, and why the rest may not (credit id -> reason code)."""

    credits: tuple[Credit, ...]
    left_out: dict[str, str]


def countable(earned: Iterable[Credit], regulations: Regulations) -> Countable:
    """Return which credit may count, one (the best) per module family, and why the rest may not.

    The reason codes are level, no_subject, size, repeated, or the status of credit that is not ratified.
    """
    chosen: dict[str, Credit] = {}
    left_out: dict[str, str] = {}
    for credit in sorted(earned, key=preference):
        if credit.status is not CreditStatus.RATIFIED:
            left_out[credit.id] = credit.status.value
        elif credit.level != regulations.framework_level:
            left_out[credit.id] = "level"
        elif not credit.subject:
            left_out[credit.id] = "no_subject"
        elif credit.credits != regulations.module_credits:
            left_out[credit.id] = "size"
        elif credit.family in chosen:
            left_out[credit.id] = "repeated"
        else:
            chosen[credit.family] = credit
    return Countable(tuple(chosen.values()), left_out)
