"""Marks: the result that a raw mark gives, by the regulations the learner enrolled under."""

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from assessment.domain.regulations import MarkRule
from shared.errors import Conflict, Forbidden, Invalid


class MarkOutOfRange(Invalid):
    """A mark lies between nought and the most there is, in whole steps."""

    remedy = "Give a mark within the range and steps that `detail` names."


class NotMarked(Conflict):
    """Only marked work can be released."""

    remedy = "Have the work marked first."


class AlreadyMarked(Conflict):
    """Work is marked once; a second opinion is the examiner's moderation."""

    remedy = "Leave a second opinion to moderation."


class AlreadyReleased(Conflict):
    """The learner knows the result: a released mark is not changed."""

    remedy = "Leave the mark as it is."


class SubmissionSuperseded(Conflict):
    """A later file took this one's place before the window closed."""

    remedy = "Mark the later file."


class SubmissionVoid(Conflict):
    """This work does not count, so it is neither marked nor released."""

    remedy = "Leave this work out."


class OwnWork(Forbidden):
    """Nobody judges their own work."""

    remedy = "Leave it to a colleague."


class SitsCourse(Forbidden):
    """Who sits a course is no staff of it: they see and judge nobody else's work on it, and set neither its task nor
    the windows it is handed in within."""

    remedy = "Leave it to a colleague who does not study the module; with windows, to one who studies none."


class Part(StrEnum):
    """What a person has done about a result: one person has one part in it (docs/rules.md, "From mark to credit").

    Whoever opened a case has none: they only do not decide it.
    """

    LEARNER = "learner"
    MARKER = "marker"
    MODERATOR = "moderator"
    PANEL = "panel"
    """Decided a case about it."""
    BOARD = "board"
    """Ratified it, or took or gave back its credit."""


class SamePerson(Forbidden):
    """Marker, moderator, panel and board of one result are different persons."""

    remedy = "Leave this step to a colleague who has had no part in the result."


class StageNotPermitted(Forbidden):
    """The first mark is a marker's, moderation an examiner's."""


class NothingToRatify(Conflict):
    """No released result of this window waits for the board."""

    remedy = "Release results of this window first."


class ResultsBusy(Conflict):
    """Somebody is releasing or ratifying these results at this moment; ask again shortly."""

    remedy = "Ask again in a minute."


class CreditAlreadyRevoked(Conflict):
    """This credit was taken away before."""

    remedy = "Nothing is left to do; an error is mended by giving the credit back."


class CreditNotRevoked(Conflict):
    """Only credit that was taken away is given back."""

    remedy = "Check which credit is meant: this one stands."


class CreditReplaced(Conflict):
    """Another pass has earned credit in the module since, and it stands: a module counts once."""

    remedy = "Leave it revoked, or revoke the other first."


class UnknownReason(Invalid):
    """The regulations name the reasons of such a decision."""

    remedy = "Give one of the reasons that the regulations name."


def check_reason(reason_code: str, known: Collection[str]) -> None:
    """Check that a reason is one that the regulations name. Raises UnknownReason."""
    if reason_code not in known:
        raise UnknownReason(f"the reasons are: {', '.join(sorted(known))}", reason_codes=sorted(known))


class BriefWeights(Invalid):
    """The weights of a brief's criteria make a whole."""

    remedy = "Let the weights add up to a hundred per cent."


class Stage(StrEnum):
    """Whose mark it is; the latest one stands until the result is released."""

    FIRST = "first"
    MODERATION = "moderation"


_GIVEN_BY = {Stage.FIRST: "marker", Stage.MODERATION: "examiner"}


def may_give(stage: Stage, roles: frozenset[str]) -> None:
    """Check that one of the roles may give the mark of this stage. Raises StageNotPermitted."""
    if _GIVEN_BY[stage] not in roles:
        raise StageNotPermitted(f"this mark is given by: {_GIVEN_BY[stage]}")


WHOLE_PERCENT = 100


@dataclass(frozen=True, slots=True)
class Result:
    """What a mark makes of an attempt. `mark` is recorded; the raw mark is kept beside it, without trailing noughts."""

    raw: Decimal
    mark: Decimal
    passed: bool
    capped: bool


def grade(raw: Decimal, attempt_no: int, rule: MarkRule) -> Result:
    """Return the result of a raw mark: a pass on a resit is recorded with the cap at most; nothing is rounded.

    Raises MarkOutOfRange.
    """
    if not 0 <= raw <= rule.out_of or raw % rule.step:
        raise MarkOutOfRange(f"a mark lies between 0 and {rule.out_of}, in steps of {rule.step}")
    raw = Decimal(f"{raw.normalize():f}")
    mark = min(raw, rule.resit_cap) if attempt_no > 1 else raw
    return Result(raw=raw, mark=mark, passed=raw >= rule.pass_mark, capped=mark < raw)


def check_weights(weights: list[int]) -> None:
    """Check that the weights of a brief's criteria, in per cent, make a whole. Raises BriefWeights."""
    if sum(weights) != WHOLE_PERCENT:
        raise BriefWeights(f"the criteria's weights sum to {sum(weights)} per cent")
