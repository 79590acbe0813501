"""What a forecast is asked about: credit supposed to be earned, a title wished for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from credentials.domain.credit import Credit
from credentials.domain.planner import Course, naming
from credentials.domain.regulations import Level, Regulations, levels_under
from credentials.domain.titles import Title
from shared.errors import Invalid, NotFound

SUPPOSED: Final = "supposed:"
"""Prefix of the id of credit that is only supposed; its index in the request follows."""


class UnknownCourse(Invalid):
    """A course that is not in the catalogue's copy here."""

    remedy = "Look for the course with `GET /v1/courses`."


class SubjectWithoutCourses(Invalid):
    """No course was ever offered in it."""

    remedy = "Plan with a subject in which courses are offered."


class UnknownTitle(NotFound):
    """No selection of credit in the subjects there are has that title."""

    remedy = "Take a title that `GET /v1/award-options` offers."


@dataclass(frozen=True)
class PlanRequest:
    """The titles to plan for: one title, or all at a level that name these subjects. What is not given admits all."""

    level: str | None
    title: str | None
    subjects: tuple[str, ...]

    def admits(self, title: Title) -> bool:
        if self.title is not None and title.text != self.title:
            return False
        return not self.subjects or naming(self.subjects)(title)


def levels_of(versions: Sequence[Regulations], code: str | None) -> Sequence[Level]:
    """Return the level asked for, or all there are under any of the versions. Raises UnknownLevel."""
    found = {known: level for known, (level, _) in levels_under(versions).items()}
    if code is None:
        return tuple(found.values())
    return (found[code] if code in found else versions[0].level(code),)


def check_courses(missing: Collection[UUID]) -> None:
    """Raise UnknownCourse if any course is missing."""
    if missing:
        raise UnknownCourse("some of these courses are not known", course_ids=sorted(map(str, missing)))


def check_subjects(missing: Collection[str]) -> None:
    """Raise SubjectWithoutCourses if any subject is missing."""
    if missing:
        raise SubjectWithoutCourses("there are no courses in some of these subjects", subjects=sorted(missing))


def check_title(title: str | None, *, exists: bool) -> None:
    """Raise UnknownTitle if a title was asked for that no level has."""
    if title is not None and not exists:
        raise UnknownTitle(f"there is no title {title!r}")


def supposed(
    place: int,
    course: Course | None,
    subject: str | None,
    credits_: int | None,
    mark: Decimal | None,
    regulations: Regulations,
    at: datetime,
) -> Credit:
    """Return the credit that passing a course, or a module of so many credits in a subject, would give."""
    id_ = f"{SUPPOSED}{place}"
    return Credit(
        id=id_,
        family=course.family if course else id_,
        subject=course.subject if course else subject,
        credits=course.credits if course else credits_ or regulations.module_credits,
        level=course.level if course else regulations.framework_level,
        mark=mark,
        passed_at=at,
    )


def index_of(credit_id: str) -> int | None:
    """Return the index in the request of credit that is supposed; None for credit that is earned."""
    return int(credit_id.removeprefix(SUPPOSED)) if credit_id.startswith(SUPPOSED) else None
