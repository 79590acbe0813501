"""The services' state of a replay's learners, read through the staff API and each learner's own view."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from embedded.journey import JSON, Person
from embedded.replay.learners import Student
from embedded.replay.progress import Progress, each
from embedded.replay.run import Replay


@dataclass(frozen=True, slots=True)
class Line:
    """A paid line of an order, as payments has it. Amounts are minor units."""

    order_line_id: str
    enrolment_id: str | None
    due_minor: int
    refund_reason: str | None
    refund_minor: int


@dataclass(frozen=True, slots=True)
class Enrolled:
    """An enrolment, as enrolment has it."""

    enrolment_id: str
    order_line_id: str
    status: str
    reason_code: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A piece of work that counts, as assessment has it."""

    enrolment_id: str
    attempt_no: int
    state: str
    passed: bool | None


@dataclass
class Facts:
    """The services' state of all learners of the run together."""

    lines: list[Line] = field(default_factory=list[Line])
    unpaid_orders: list[str] = field(default_factory=list[str])
    enrolments: list[Enrolled] = field(default_factory=list[Enrolled])
    not_activated: set[str] = field(default_factory=set[str])
    """Order lines enrolment refused."""
    outcomes: list[Outcome] = field(default_factory=list[Outcome])
    attempts_allowed: int = 0
    credits: dict[str, str] = field(default_factory=dict[str, str])
    """The id of each enrolment's credit, as credentials has it."""
    badges: list[str] = field(default_factory=list[str])
    """The credit id of each valid badge, as credentials has it."""
    seen_credits: list[str] = field(default_factory=list[str])
    """The credit ids in the study records, which enrolment has from events."""
    seen_badges: list[str] = field(default_factory=list[str])
    """The credit id of each badge in the study records."""
    stackers: set[int] = field(default_factory=set[int])
    """Learners who are offered a title."""
    postings: int = 0
    unbalanced: list[str] = field(default_factory=list[str])
    total_minor: int = 0
    """The sum of all entries of the ledger."""
    sales_minor: int = 0
    """Sales on the ledger of the run's orders, less what was refunded."""
    study_records: int = 0
    differing_study_records: list[str] = field(default_factory=list[str])
    credit_records: int = 0
    differing_credit_records: list[str] = field(default_factory=list[str])


async def gather(whole: Replay) -> Facts:
    """Read the state of all services; raises Refused."""
    staff, facts = whole.staff.by_role, Facts()

    async def look(student: Student) -> None:
        await _payments(staff["finance"], student.orders, facts)
        await _studies(staff["advisor"], student, facts)
        await _credentials(student, facts)

    students = list(whole.students.values())
    await each(whole.progress, "reconciling: learners", students, look, at_once=whole.at_once)
    progress = whole.progress
    with progress.counting("reconciling: results"):
        await _results(staff["examiner"], whole.windows, facts, progress)
    await _allowed(whole, facts)
    with progress.counting("reconciling: postings"):
        await _ledger(staff["finance"], {order for one in students for order in one.orders}, facts, progress)
    with progress.counting("reconciling: study records, derived anew"):
        found = await _compare(staff["operator"], "/v1/study-record-comparison", progress)
        facts.study_records, facts.differing_study_records = found
    with progress.counting("reconciling: credit, derived anew"):
        found = await _compare(staff["operator"], "/v1/credits/comparison", progress)
        facts.credit_records, facts.differing_credit_records = found
    return facts


async def _payments(finance: Person, orders: Iterable[str], facts: Facts) -> None:
    for order_id in orders:
        order = await finance.ask("GET", f"/v1/orders/{order_id}")
        if order["status"] not in {"paid", "partly_refunded", "refunded"}:
            facts.unpaid_orders.append(order_id)
            continue
        for line in order["lines"]:
            refund: JSON = line["refund"] or {}
            facts.lines.append(
                Line(
                    line["order_line_id"],
                    line["enrolment_id"],
                    line["due"]["amount_minor"],
                    refund.get("reason_code"),
                    refund["amount"]["amount_minor"] if refund else 0,
                )
            )


async def _studies(advisor: Person, student: Student, facts: Facts) -> None:
    async for one in advisor.all("/v1/enrolments", learner_id=student.account_id):
        facts.enrolments.append(Enrolled(one["enrolment_id"], one["order_line_id"], one["status"], one["reason_code"]))
    record = await advisor.ask("GET", f"/v1/learners/{student.account_id}/study-record")
    facts.not_activated |= {line["order_line_id"] for line in record["not_activated"]}
    facts.seen_credits += [one["credit_id"] for one in record["credits"] if one["status"] == "awarded"]
    facts.seen_badges += [one["credit_id"] for one in record["badges"] if one["status"] == "issued"]


async def _credentials(student: Student, facts: Facts) -> None:
    credits_ = [one for one in (await student.ask("GET", "/v1/credits"))["items"] if one["status"] == "ratified"]
    if not credits_:
        return
    facts.credits |= {one["enrolment_id"]: one["credit_id"] for one in credits_}
    badges = (await student.ask("GET", "/v1/badges"))["items"]
    facts.badges += [one["credit_id"] for one in badges if one["credit_id"] and one["status"] == "valid"]
    options = await student.ask("GET", "/v1/award-options")
    if any(level["options"] for level in options["levels"]):
        facts.stackers.add(student.number)


async def _results(examiner: Person, windows: Iterable[str], facts: Facts, progress: Progress) -> None:
    for window_id in windows:
        async for one in examiner.all(f"/v1/windows/{window_id}/results"):
            facts.outcomes.append(Outcome(one["enrolment_id"], one["attempt_no"], one["state"], one["passed"]))
            progress.step()


async def _allowed(whole: Replay, facts: Facts) -> None:
    """Read how many attempts the regulations allow, from any learner's assessment."""
    for student in whole.students.values():
        for study in student.studies.values():
            for enrolment_id in study.enrolments.values():
                view = await student.ask("GET", f"/v1/assessments/{enrolment_id}")
                facts.attempts_allowed = view["attempts_allowed"]
                return


async def _ledger(finance: Person, orders: set[str], facts: Facts, progress: Progress) -> None:
    async for posting in finance.all("/v1/ledger"):
        entries: list[JSON] = posting["entries"]
        total = sum(entry["amount_minor"] for entry in entries)
        facts.postings += 1
        progress.step()
        facts.total_minor += total
        if total:
            facts.unbalanced.append(str(posting["posting_no"]))
        if posting["order_id"] in orders:
            facts.sales_minor -= sum(entry["amount_minor"] for entry in entries if entry["account"] == "sales")


async def _compare(operator: Person, path: str, progress: Progress) -> tuple[int, list[str]]:
    """Return how many records were rebuilt for comparison, and which of them differ."""
    compared, differing = 0, list[str]()
    cursor: str | None = None
    while True:
        page: dict[str, Any] = await operator.ask("GET", path, cursor=cursor, limit=100)  # Any: JSON
        compared += page["compared"]
        progress.step(page["compared"])
        differing += page["differing"]
        cursor = page["next_cursor"]
        if cursor is None:
            return compared, differing
