"""The request and response bodies of the API."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field, StringConstraints

from catalogue import domain
from shared.web import Instant, Page, RequestModel, View
from shared.web.content import Text

SLUG = r"^[a-z0-9]+(-[a-z0-9]+)*$"

Slug = Annotated[str, StringConstraints(pattern=SLUG, max_length=100)]
"""Small letters, digits and single hyphens: part of an address."""

Name = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
Paragraph = Annotated[Text, StringConstraints(min_length=1, max_length=2000)]
LongText = Annotated[Text, StringConstraints(min_length=1, max_length=20_000)]
StudyText = Annotated[Text, StringConstraints(min_length=1, max_length=200_000)]
Address = Annotated[Text, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=500)]
Code = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._/-]*$", max_length=40, to_upper=True)]
"""Letters, digits and a few signs, in upper case however it was typed: 7ds505 is 7DS505."""
Currency = Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")]
Minor = Annotated[int, Field(ge=1, le=100_000_000, description="Integer minor units, e.g. pence")]


def _of_this_century(at: datetime) -> datetime:
    if not MIN_YEAR <= at.year < MAX_YEAR:
        raise ValueError(f"a price begins between {MIN_YEAR} and {MAX_YEAR}")
    return at


MIN_YEAR, MAX_YEAR = 2000, 2100
PriceDate = Annotated[Instant, AfterValidator(_of_this_century)]


# What editors send


class InstitutionRequest(RequestModel):
    """A university or other body that teaches courses, as an editor enters it."""

    slug: Slug = Field(examples=["northbridge"])
    name: Name = Field(examples=["Northbridge University"])
    homepage: Address = Field(examples=["https://northbridge.example"])
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] = Field(
        description="ISO 3166-1 alpha-2", examples=["GB"]
    )


class SubjectNames(RequestModel):
    """The two names of a subject: one in the catalogue, one in the titles of awards."""

    name: Name = Field(description="As it stands in the catalogue", examples=["Data Science"])
    award_name: Name = Field(
        description='As it stands in titles such as "PGCert in …"; may not hold "and" or "with"',
        examples=["Data Science"],
    )


class SubjectRequest(SubjectNames):
    """A field of study to which courses belong, as an editor enters it."""

    slug: Slug = Field(examples=["data-science"])
    description: LongText = Field(examples=["Drawing sound conclusions from data."])


class Hours(RequestModel):
    """Hours of study a week that a course takes, from the fewest to the most."""

    min: int = Field(ge=1, le=168, examples=[12])
    max: int = Field(ge=1, le=168, examples=[15])


class OutcomeRequest(RequestModel):
    """What a learner can do after the course, with its code within that course."""

    code: Code = Field(examples=["LO1"])
    text: Paragraph = Field(examples=["Define causal effects with potential outcomes."])


class SkillRequest(RequestModel):
    """A skill the course teaches, named by its address in a public framework of skills."""

    name: Name = Field(examples=["causal inference"])
    framework: Name = Field(examples=["ESCO"])
    url: Address = Field(examples=["https://skills.example/causal-inference"])


class UnitRequest(RequestModel):
    """One unit of study of a course; learners work through units by `position`."""

    position: int = Field(ge=1, le=100, examples=[1])
    title: Name = Field(examples=["Potential outcomes"])
    minutes: int = Field(ge=1, le=10_000, description="Expected study time", examples=[180])
    objectives: Sequence[Paragraph] = Field(
        default=(), max_length=30, examples=[["Define individual and average effects"]]
    )
    text: StudyText = Field(description="Study text, Markdown", examples=["For a unit and a treatment …"])


class BadgeText(RequestModel):
    """The words of a course's badge."""

    criteria: LongText = Field(
        description="What the badge says had to be done",
        examples=["Awarded to learners who answer a causal question with a defensible design."],
    )


class PriceRequest(RequestModel):
    """What a course costs from an instant on, in minor units of the currency, e.g. pence."""

    amount_minor: Minor = Field(examples=[49500])
    currency: Currency = Field(description="ISO 4217", examples=["GBP"])
    valid_from: PriceDate = Field(examples=["2026-12-01T00:00:00Z"])

    def as_text(self) -> domain.PriceText:
        return domain.PriceText(self.amount_minor, self.currency, self.valid_from)


class CourseRequest(RequestModel):
    """Everything of a course version that can be edited while it is a draft."""

    title: Name = Field(examples=["Causal Inference and Experimentation"])
    subject: Slug | None = Field(default=None, description="Needed to publish", examples=["data-science"])
    institution: Slug | None = Field(default=None, description="Needed to publish", examples=["northbridge"])
    summary: Paragraph = Field(examples=['Move from "what goes with what" to "what would happen if".'])
    description: LongText = Field(examples=["Decisions need causal answers."])
    credits: int = Field(ge=1, le=180, examples=[15])
    level: int = Field(ge=1, le=8, description="Of the Framework for Higher Education", examples=[7])
    weeks: int = Field(ge=1, le=104, examples=[10])
    hours_per_week: Hours
    prerequisites: Paragraph | None = Field(default=None, examples=["Confidence intervals and regression."])
    badge: BadgeText
    outcomes: Sequence[OutcomeRequest] = Field(default=(), max_length=50)
    skills: Sequence[SkillRequest] = Field(default=(), max_length=50)
    units: Sequence[UnitRequest] = Field(default=(), max_length=100)

    def as_text(self) -> domain.CourseText:
        return domain.CourseText(
            title=self.title,
            subject=self.subject,
            institution=self.institution,
            summary=self.summary,
            description=self.description,
            credits=self.credits,
            level=self.level,
            weeks=self.weeks,
            hours_min=self.hours_per_week.min,
            hours_max=self.hours_per_week.max,
            prerequisites=self.prerequisites,
            criteria=self.badge.criteria,
            outcomes=[outcome.model_dump() for outcome in self.outcomes],
            skills=[skill.model_dump() for skill in self.skills],
            units=[
                domain.UnitText(unit.position, unit.title, unit.minutes, unit.objectives, unit.text)
                for unit in self.units
            ],
        )


class NewCourseRequest(CourseRequest):
    """A new course with its first draft; address, code and module family stay for good."""

    slug: Slug = Field(description="Its address, for good", examples=["causal-inference"])
    code: Code = Field(examples=["7DS505"])
    module_family: Code | None = Field(
        default=None,
        description="Credit is given once per family; the course's own code where absent",
        examples=["7DS505"],
    )
    price: PriceRequest | None = Field(default=None, description="The first price; more can be set later")


# What we answer


class InstitutionView(View):
    """A university or other body that teaches courses; `country` is an ISO 3166-1 alpha-2 code."""

    institution_id: UUID
    slug: str = Field(examples=["northbridge"])
    name: str = Field(examples=["Northbridge University"])
    homepage: str = Field(examples=["https://northbridge.example"])
    country: str = Field(examples=["GB"])


class SubjectView(View):
    """A field of study to which courses belong, with its name in the titles of awards."""

    subject_id: UUID
    slug: str = Field(examples=["data-science"])
    name: str = Field(examples=["Data Science"])
    award_name: str = Field(examples=["Data Science"])
    description: str


class Label(View):
    """A name to show, and the slug to filter courses by."""

    slug: str = Field(examples=["data-science"])
    name: str = Field(examples=["Data Science"])


class SubjectLabel(Label):
    """The field a course belongs to, with its name in the titles of awards."""

    subject_id: UUID
    award_name: str = Field(examples=["Data Science"])


class InstitutionLabel(Label):
    """The institution that teaches a course."""

    institution_id: UUID
    homepage: str = Field(examples=["https://northbridge.example"])


class HoursView(View):
    """Hours of study a week that a course takes, from the fewest to the most."""

    min: int = Field(examples=[12])
    max: int = Field(examples=[15])


class PriceOfCourse(View):
    """What a course costs from `valid_from` on, in minor units of an ISO 4217 currency, e.g. pence."""

    amount_minor: int = Field(examples=[49500])
    currency: str = Field(examples=["GBP"])
    valid_from: Instant = Field(examples=["2026-01-01T00:00:00Z"])


class Prices(View):
    """The price of a course now and next; each null where there is none."""

    price: PriceOfCourse | None = Field(description="What it costs now")
    next_price: PriceOfCourse | None = Field(description="What it will cost next, if that is known")


class CourseCard(Prices):
    """A published course in short, as search results list it."""

    course_id: UUID
    slug: str = Field(examples=["causal-inference"])
    code: str = Field(examples=["7DS505"])
    title: str = Field(examples=["Causal Inference and Experimentation"])
    summary: str
    subject: Label
    institution: Label
    credits: int = Field(examples=[15])
    level: int = Field(examples=[7])
    weeks: int = Field(examples=[10])
    hours_per_week: HoursView


class FacetValue(Label):
    """A value to filter courses by, and how many courses it would leave."""

    count: int = Field(description="Courses that the other filters leave", examples=[5])


class Facets(View):
    """The subjects and institutions of the courses found, to narrow the search by."""

    subjects: Sequence[FacetValue]
    institutions: Sequence[FacetValue]


class CoursePage(Page[CourseCard]):
    """One page of the courses found, with how many there are on all pages and what they can be narrowed by."""

    total: int = Field(description="Courses on all pages", examples=[34])
    facets: Facets


class LearningOutcomeView(View):
    """What a learner can do after the course."""

    code: str = Field(examples=["LO1"])
    text: str


class SkillView(View):
    """A skill the course teaches, and its address in a public framework of skills."""

    name: str = Field(examples=["causal inference"])
    framework: str = Field(examples=["ESCO"])
    url: str


class UnitOutline(View):
    """One unit of study in outline: objectives and expected study time in minutes, without its text."""

    unit_id: UUID
    position: int = Field(examples=[1])
    title: str = Field(examples=["Potential outcomes"])
    minutes: int = Field(examples=[180])
    objectives: Sequence[str]


class CourseBadgeView(View):
    """What the badge of a course says had to be done for it."""

    criteria: str


class CourseView(Prices):
    """A course as everybody may see it. Its study text is for those enrolled."""

    course_id: UUID
    slug: str = Field(examples=["causal-inference"])
    code: str = Field(examples=["7DS505"])
    state: str = Field(description="published or withdrawn", examples=["published"])
    course_version_id: UUID
    version: int = Field(examples=[1])
    title: str = Field(examples=["Causal Inference and Experimentation"])
    summary: str
    description: str
    subject: SubjectLabel
    institution: InstitutionLabel
    credits: int = Field(examples=[15])
    level: int = Field(examples=[7])
    weeks: int = Field(examples=[10])
    hours_per_week: HoursView
    module_family: str = Field(examples=["7DS505"])
    prerequisites: str | None
    badge: CourseBadgeView
    outcomes: Sequence[LearningOutcomeView]
    skills: Sequence[SkillView]
    units: Sequence[UnitOutline]
    published_at: Instant


class VersionSummary(View):
    """A version of a course in short, draft or published, for editors."""

    course_id: UUID
    course_version_id: UUID
    version: int = Field(examples=[1])
    title: str
    revision: int = Field(description="Send it back as If-Match when you save the draft", examples=[1])
    created_at: Instant
    published_at: Instant | None = Field(description="null while it is a draft")


class UnitView(UnitOutline):
    """One unit of study with its text."""

    text: str = Field(description="Study text, Markdown")


class VersionView(VersionSummary):
    """A version of a course with all its text, draft or published, for editors."""

    subject: str | None
    institution: str | None
    summary: str
    description: str
    credits: int
    level: int
    weeks: int
    hours_per_week: HoursView
    prerequisites: str | None
    badge: CourseBadgeView
    outcomes: Sequence[LearningOutcomeView]
    skills: Sequence[SkillView]
    units: Sequence[UnitView]


class CourseState(View):
    """Whether a course is published or withdrawn; `withdrawn_at` is null unless it is withdrawn."""

    course_id: UUID
    slug: str
    state: str = Field(examples=["withdrawn"])
    withdrawn_at: Instant | None


class PriceView(PriceOfCourse):
    """A price of a course that was set for an instant on, and who set it when."""

    price_id: UUID
    course_id: UUID
    set_at: Instant
    set_by: str
