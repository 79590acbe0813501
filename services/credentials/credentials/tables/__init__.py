"""The tables, by what they hold."""

from credentials.tables.awards import Allocation, Award
from credentials.tables.base import Base
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
    "Badge",
    "Base",
    "Credit",
    "Eligibility",
    "Learner",
    "Payment",
    "Person",
    "Pin",
    "Result",
    "Revocation",
    "SigningKey",
    "StatusList",
    "SubjectName",
    "Transcript",
    "Voiding",
]
