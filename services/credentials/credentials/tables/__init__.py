"""The tables, by what they hold."""

from credentials.tables.awards import Allocation, Award, AwardReview, Notice
from credentials.tables.base import Base
from credentials.tables.courses import Enrolment, OfferedCourse, Price
from credentials.tables.facts import (
    Achievement,
    Credit,
    Payment,
    Pin,
    Result,
    Revocation,
    SubjectName,
    Voiding,
)
from credentials.tables.issued import Badge, Eligibility, SigningKey, StatusList, Transcript
from credentials.tables.people import Learner, Person

__all__ = [
    "Achievement",
    "Allocation",
    "Award",
    "AwardReview",
    "Badge",
    "Base",
    "Credit",
    "Eligibility",
    "Enrolment",
    "Learner",
    "Notice",
    "OfferedCourse",
    "Payment",
    "Person",
    "Pin",
    "Price",
    "Result",
    "Revocation",
    "SigningKey",
    "StatusList",
    "SubjectName",
    "Transcript",
    "Voiding",
]
