"""What somebody asks about the future: credit supposed to be earned, a title wished for."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from credentials.domain.credit import Credit
from credentials.domain.planner import Course, naming
from credentials.domain.regulations import Level, Regulations
from credentials.domain.titles import Title
from shared.errors import Invalid, NotFound

SUPPOSED: Final = "supposed:"
"""Begins the id of credit that is only supposed; its place in the request follows."""


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
class Wish:
    """A title, or titles by level and the subjects they name; all of them where nothing is told."""

    level: str | None
    title: str | None
    subjects: tuple[str, ...]

    def admits(self, title: Title) -> bool:
        if self.title is not None and title.text != self.title:
            return False
        return not self.subjects or naming(self.subjects)(title)


def levels_of(regulations: Regulations, code: str | None) -> Sequence[Level]:
    """The level asked for, or all. Raises UnknownLevel."""
    return regulations.levels if code is None else (regulations.level(code),)


def check_courses(missing: Collection[UUID]) -> None:
    """Raises UnknownCourse."""
    if missing:
        raise UnknownCourse("some of these courses are not known", course_ids=sorted(map(str, missing)))


def check_subjects(missing: Collection[str]) -> None:
    """Raises SubjectWithoutCourses."""
    if missing:
        raise SubjectWithoutCourses("there are no courses in some of these subjects", subjects=sorted(missing))


def check_title(title: str | None, *, exists: bool) -> None:
    """Raises UnknownTitle where a title was asked for that no level has."""
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
    """The credit that passing a course, or a module of so many credits in a subject, would give."""
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


def place_of(credit_id: str) -> int | None:
    """Where in the request supposed credit came from; None for credit that is held."""
    return int(credit_id.removeprefix(SUPPOSED)) if credit_id.startswith(SUPPOSED) else None
