"""A learner's study record, made of facts."""

from enrolment.domain import facts as kinds
from enrolment.domain import study
from enrolment.domain.facts import Fact
from enrolment.domain.study_record import study_record

from .facts import COURSE, ENROLMENT, T0, fact, uid

PERSON = study.Person(uid(100), "Ada", T0)
BOUGHT = study.Course(COURSE, uid(6), 1, "c", "C", "Course", "F", "Data Science", "Northbridge", 15, 7, 10)
ENROLLED = study.Enrolled(ENROLMENT, BOUGHT, "active", None, "mc-regs-2026.2", T0, study.Progress(6, 3, 2))


def record(facts) -> study.StudyRecord:
    return study_record(PERSON, [ENROLLED], [], facts)


def award(kind: type[Fact], number: int, hours: float, **data) -> Fact:
    return fact(kind, hours=hours, subject=uid(number), award_id=uid(number), **data)


CLAIMED = award(
    kinds.AwardClaimed, 60, 30, level="pgcert", title="PGCert in Data Science", credit_ids=[str(uid(30))], rule="single"
)
CONFERRED = award(
    kinds.AwardConferred,
    60,
    31,
    level="pgcert",
    title="PGCert in Data Science",
    credit_ids=[str(uid(30))],
    classification="Merit",
    certificate_number="N1",
)
SUPERSEDED = award(kinds.AwardSuperseded, 60, 32, superseded_by=uid(61))
