"""Rules about what may be published, under which name and at what price. Pure: the instant is an argument."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from shared import texts
from shared.errors import Conflict, DomainError, Invalid, PreconditionFailed
from shared.regulations import Versions, begins


class SlugTaken(Conflict):
    """A slug is an address; it belongs to one thing for good."""

    remedy = "Choose another slug."


class CodeTaken(Conflict):
    """A course code names one course."""

    remedy = "Choose another code."


class AwardNameTaken(Conflict):
    """Two subjects of one award name could not be distinguished in a title."""

    remedy = "Choose another award name."


class AmbiguousAwardName(Invalid):
    """Titles join award names with "and" and "with", so a name may not hold these words itself (write "&")."""

    remedy = 'Write "&" in place of "and" and "with".'


class ReservedAwardName(Invalid):
    """The regulations use this name for a title of their own."""

    remedy = "Choose another award name."


class ReservedSlug(Invalid):
    """This slug is the address of something else."""

    remedy = "Choose another slug."


class UnknownSubject(Invalid):
    """No subject has that slug."""

    remedy = "Take the slug of a subject that `GET /v1/subjects` shows."


class UnknownInstitution(Invalid):
    """No institution has that slug."""

    remedy = "Take the slug of an institution that `GET /v1/institutions` shows."


class NotOfferedAtThatSize(Invalid):
    """The regulations know no course of so many credits at that level."""

    remedy = "Choose a size that the regulations know at that level."


class OtherCurrency(Invalid):
    """The platform sells in one currency: a basket has one total."""

    remedy = "Give the price in the platform's currency."


class UnitsOutOfOrder(Invalid):
    """Units are numbered 1, 2, 3, … without a gap."""

    remedy = "Number the units 1, 2, 3, … without a gap."


class HoursOutOfOrder(Invalid):
    """The least weekly hours are at most the most."""

    remedy = "Let the least weekly hours be at most the most."


class OutcomeCodesRepeated(Invalid):
    """Each learning outcome of a course has a code of its own."""

    remedy = "Give each learning outcome another code."


class NoUnits(Conflict):
    """A course is published with something to study."""

    remedy = "Give the draft its units, then publish."


class NoOutcomes(Conflict):
    """A course is published with what its learners will be able to do."""

    remedy = "Give the draft its outcomes, then publish."


class NoPriceInForce(Conflict):
    """A course is published with a price that holds now."""

    remedy = "Set a price that holds now, then publish."


class NoSubject(Conflict):
    """A course is published under a subject: credit counts by subject."""

    remedy = "Give the draft its subject, then publish."


class NoInstitution(Conflict):
    """A course is published by an institution of the federation."""

    remedy = "Give the draft its institution, then publish."


class NoDraft(Conflict):
    """There is no draft: what is published does not change; start a new version to change the course."""

    remedy = "Start a new version of the course."


class DraftExists(Conflict):
    """A course has one draft at a time."""

    remedy = "Change or publish the draft there is."


class DraftChanged(PreconditionFailed):
    """Somebody else saved the draft meanwhile; read it again."""


class NotPublished(Conflict):
    """The course has not been published yet."""

    remedy = "Publish the course first."


class CourseIsWithdrawn(Conflict):
    """The course has been withdrawn from sale, which is final."""

    code = "course_withdrawn"
    remedy = "Choose another course; whoever is enrolled goes on."


class PriceDateTaken(Conflict):
    """The course already has a price from that instant on."""

    remedy = "Choose another instant."


class PriceInThePast(Conflict):
    """What a published course cost in the past does not change."""

    remedy = "Let the price begin later than now."


RESERVED_SLUGS: Final = frozenset({"drafts"})
"""Course addresses that the API uses itself."""


class ProgrammeCodeTaken(Conflict):
    """A partner's programmes are distinguished by their codes."""

    remedy = "Choose another code."


class ModuleMappedTwice(Invalid):
    """A course version counts as one module of a programme."""

    remedy = "Change the module that is mapped, or leave one out."


class ModuleDatesOutOfOrder(Invalid):
    """A mapping ends after it begins."""

    remedy = "Let the mapping end after it begins."


class UnknownCourseVersion(Invalid):
    """Only a published course version can be mapped."""

    remedy = "Map a version that is published."


@dataclass(frozen=True, slots=True)
class ModuleText:
    """A module of a programme: which course version counts as it, for how many credits, from when until when."""

    course_version_id: UUID
    module_code: str
    module_title: str
    credits: int
    valid_from: datetime
    valid_until: datetime | None
    decided_by: str


def check_map(modules: Sequence[ModuleText]) -> None:
    """Check the modules of a map.

    :raises ModuleMappedTwice: 422
    :raises ModuleDatesOutOfOrder: 422
    """
    if len({module.course_version_id for module in modules}) != len(modules):
        raise ModuleMappedTwice("a course version counts as one module of a programme")
    for module in modules:
        if module.valid_until is not None and module.valid_until <= module.valid_from:
            raise ModuleDatesOutOfOrder(f"{module.module_code} ends before it begins")


@dataclass(frozen=True, slots=True)
class Regulations:
    """The part of the regulations that binds the catalogue. Prices are in `currency`, the only one we sell in."""

    version: str
    effective_from: datetime
    credits: frozenset[int]
    levels: frozenset[int]
    currency: str
    joining_words: frozenset[str]
    reserved_award_names: frozenset[str]
    units_at_least: int
    outcomes_at_least: int


def parse(document: Mapping[str, Any]) -> Regulations:  # Any: JSON
    return Regulations(
        version=document["version"],
        effective_from=begins(document["effective_from"]),
        credits=frozenset(document["credits"]),
        levels=frozenset(document["levels"]),
        currency=document["currency"],
        joining_words=frozenset(document["award_names"]["joining_words"]),
        reserved_award_names=frozenset(texts.key(name) for name in document["award_names"]["reserved"]),
        units_at_least=document["publication"]["units_at_least"],
        outcomes_at_least=document["publication"]["outcomes_at_least"],
    )


in_force = Versions("catalogue", parse).in_force


@dataclass(frozen=True, slots=True)
class PriceText:
    """A price from an instant on, in integer minor units."""

    amount_minor: int
    currency: str
    valid_from: datetime


def price_at(prices: Iterable[PriceText], at: datetime) -> PriceText | None:
    """Return the price in force at an instant: the one with the latest `valid_from` not after it, or None."""
    return max((p for p in prices if p.valid_from <= at), key=lambda p: p.valid_from, default=None)


def check_price(regulations: Regulations, currency: str) -> None:
    """Check that a price is in the platform's currency; raises OtherCurrency."""
    if currency != regulations.currency:
        raise OtherCurrency(f"prices are in {regulations.currency}")


def check_price_date(valid_from: datetime, now: datetime, *, published: bool) -> None:
    """Check that a published course gets no price for the past; raises PriceInThePast. A draft may get any."""
    if published and valid_from < now:
        raise PriceInThePast("a published course can only be given a price from now on", now=now.isoformat())


def award_name(name: str, regulations: Regulations) -> str:
    """Return the name as it will stand in titles, with single spaces.

    :raises AmbiguousAwardName: 422
    :raises ReservedAwardName: 422
    """
    words = name.split()
    joining = [word for word in words if texts.key(word) in regulations.joining_words]
    if joining:
        raise AmbiguousAwardName(f'an award name may not hold the word "{joining[0]}"; write "&" instead')
    tidy = " ".join(words)
    if texts.key(tidy) in regulations.reserved_award_names:
        raise ReservedAwardName(f'"{tidy}" is a title of its own')
    return tidy


def check_course_slug(slug: str) -> None:
    """Check that a course's slug is no address of the API; raises ReservedSlug."""
    if slug in RESERVED_SLUGS:
        raise ReservedSlug(f'no course can be called "{slug}"')


def check_size(regulations: Regulations, credits: int, level: int) -> None:
    """Check that the regulations have courses of so many credits at this level; raises NotOfferedAtThatSize."""
    if credits not in regulations.credits or level not in regulations.levels:
        raise NotOfferedAtThatSize(
            f"{credits} credits at level {level} are not offered",
            credits=sorted(regulations.credits),
            levels=sorted(regulations.levels),
        )


def check_contents(positions: Sequence[int], outcome_codes: Collection[str]) -> None:
    """Check that units are numbered without a gap and outcomes have different codes.

    :raises UnitsOutOfOrder: 422
    :raises OutcomeCodesRepeated: 422
    """
    if sorted(positions) != list(range(1, len(positions) + 1)):
        raise UnitsOutOfOrder("number the units 1, 2, 3, … without a gap")
    if len(set(outcome_codes)) != len(outcome_codes):
        raise OutcomeCodesRepeated("two outcomes have one code")


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a draft has of all that publication requires."""

    units: int
    outcomes: int
    has_price: bool
    has_subject: bool
    has_institution: bool


def check_ready(draft: Readiness, regulations: Regulations) -> None:
    """Check that a draft has all that publication requires.

    :raises Conflict: 409, the first of NoSubject, NoInstitution, NoOutcomes, NoUnits, NoPriceInForce that applies;
        its `missing` names all that do
    """
    errors: list[tuple[bool, type[DomainError], str]] = [
        (draft.has_subject, NoSubject, "give the course a subject"),
        (draft.has_institution, NoInstitution, "give the course an institution"),
        (draft.outcomes >= regulations.outcomes_at_least, NoOutcomes, "write the learning outcomes"),
        (draft.units >= regulations.units_at_least, NoUnits, "write the units"),
        (draft.has_price, NoPriceInForce, "set a price that holds now"),
    ]
    missing = [(kind, detail) for fulfilled, kind, detail in errors if not fulfilled]
    if missing:
        kind, detail = missing[0]
        raise kind(detail, missing=[kind.code for kind, _ in missing])


@dataclass(frozen=True, slots=True)
class UnitText:
    position: int
    title: str
    minutes: int
    objectives: Sequence[str]
    text: str
    """Study text, Markdown."""


@dataclass(frozen=True, slots=True)
class CourseText:
    """All that an editor writes about a course. `subject` and `institution` are slugs, absent while undecided."""

    title: str
    subject: str | None
    institution: str | None
    summary: str
    description: str
    credits: int
    level: int
    weeks: int
    hours_min: int
    hours_max: int
    prerequisites: str | None
    criteria: str
    """The criteria that the course's badge will state."""
    outcomes: Sequence[Mapping[str, str]]
    skills: Sequence[Mapping[str, str]]
    units: Sequence[UnitText]


def check_text(written: CourseText, regulations: Regulations) -> None:
    """Check the text of a course; raises HoursOutOfOrder, and what `check_size` and `check_contents` raise."""
    check_size(regulations, written.credits, written.level)
    if written.hours_min > written.hours_max:
        raise HoursOutOfOrder("the least weekly hours are more than the most")
    check_contents([unit.position for unit in written.units], [o["code"] for o in written.outcomes])


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list of courses; an empty one lets everything through."""

    subjects: Sequence[str] = ()
    institutions: Sequence[str] = ()
    level: int | None = None


class Group(NamedTuple):
    """The number of courses on sale with the same subject, institution and level: all that a list is filtered by."""

    subject: str
    institution: str
    level: int
    courses: int


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts of the courses on sale, or of those that match a search, by subject, institution and level."""

    groups: Sequence[Group]
    names: Mapping[str, str]
    """The names of subjects and institutions, by `subject/slug` and `institution/slug`."""

    def matching(self, filters: Filters) -> Sequence[Group]:
        return [
            group
            for group in self.groups
            if (not filters.subjects or group.subject in filters.subjects)
            and (not filters.institutions or group.institution in filters.institutions)
            and filters.level in (None, group.level)
        ]

    def by_subject(self, filters: Filters) -> list[dict[str, object]]:
        """Count by subject, ignoring the filter on subjects: it shows how many courses another choice would give."""
        wanted = replace(filters, subjects=())
        return self._counted("subject", {group: group.subject for group in self.matching(wanted)})

    def by_institution(self, filters: Filters) -> list[dict[str, object]]:
        wanted = replace(filters, institutions=())
        return self._counted("institution", {group: group.institution for group in self.matching(wanted)})

    def _counted(self, facet: str, slugs: Mapping[Group, str]) -> list[dict[str, object]]:
        counts: Counter[str] = Counter()
        for group, slug in slugs.items():
            counts[slug] += group.courses
        named = [(slug, self.names[f"{facet}/{slug}"], count) for slug, count in counts.items()]
        named.sort(key=lambda one: (-one[2], one[1]))
        return [{"slug": slug, "name": name, "count": count} for slug, name, count in named]
