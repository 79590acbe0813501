"""What the catalogue announces."""

from uuid import UUID

from shared.events.base import Event, Fact, Instant


class Outcome(Fact):
    code: str
    text: str


class Skill(Fact):
    name: str
    framework: str
    url: str


class CoursePublished(
    Event,
    type="catalogue.course.published.v1",
    subject="course_id",
    consumers=("payments", "enrolment", "assessment", "credentials"),
):
    """A course is on sale in its first frozen version."""

    course_id: UUID
    course_version_id: UUID
    version: int
    slug: str
    code: str
    title: str
    description: str
    subject_id: UUID
    subject_name: str
    """The award name: what stands in a title such as "PGCert in …"."""
    institution_id: UUID
    institution_name: str
    credits: int
    level: int
    module_family: str
    """Versions of one module share it; credit is given once per family."""
    weeks: int
    criteria: str
    """What the badge says had to be done."""
    outcomes: tuple[Outcome, ...] = ()
    skills: tuple[Skill, ...] = ()
    published_at: Instant


class CourseUpdated(
    CoursePublished,
    type="catalogue.course.updated.v1",
    subject="course_id",
    consumers=("payments", "enrolment", "assessment", "credentials"),
):
    """A later frozen version replaces the one on sale; learners keep the version they bought."""


class Unit(Fact):
    unit_id: UUID
    position: int
    title: str
    minutes: int
    objectives: tuple[str, ...] = ()
    text: str
    """Study text, Markdown."""


class MaterialsPublished(
    Event, type="catalogue.materials.published.v1", subject="course_version_id", consumers=("enrolment",)
):
    """The study materials of one frozen course version."""

    course_id: UUID
    course_version_id: UUID
    units: tuple[Unit, ...]


class CourseWithdrawn(
    Event,
    type="catalogue.course.withdrawn.v1",
    subject="course_id",
    consumers=("payments", "enrolment", "credentials"),
):
    """A course is no longer sold; those who bought it go on."""

    course_id: UUID
    withdrawn_at: Instant


class PriceChanged(
    Event, type="catalogue.price.changed.v1", subject="course_id", consumers=("payments", "credentials")
):
    """A price row with its date.

    A course's price at an instant is the row with the latest `valid_from` not after it.
    """

    course_id: UUID
    price_id: UUID
    amount_minor: int
    currency: str
    valid_from: Instant
    set_by: str | None = None
    """The account that set it, which buys nothing at it."""


class SubjectRenamed(
    Event, type="catalogue.subject.renamed.v1", subject="subject_id", consumers=("assessment", "credentials")
):
    """A label only: credit keeps the name it was awarded under."""

    subject_id: UUID
    award_name: str
    effective_from: Instant


class ProgrammeModule(Fact):
    """A course version counts for so many credits as this module of the programme, within these dates."""

    course_id: UUID
    course_version_id: UUID
    module_code: str
    module_title: str
    credits: int
    valid_from: Instant
    valid_until: Instant | None = None
    decided_by: str


class ProgrammePublished(
    Event, type="catalogue.programme.published.v1", subject="programme_id", consumers=("credentials",)
):
    """What a partner's degree programme takes in, as a whole; a higher `version` replaces a lower one."""

    programme_id: UUID
    version: int
    client_id: str
    """The partner who decides on transfers into it."""
    institution_name: str
    code: str
    title: str
    ceiling_credits: int
    modules: tuple[ProgrammeModule, ...]
    published_at: Instant
