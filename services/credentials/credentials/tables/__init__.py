"""The tables, by what they hold."""

from credentials.tables.awards import Allocation, Award
from credentials.tables.base import Base
from credentials.tables.facts import (
    Achievement,
    Credit,
    Learner,
    Payment,
    Pin,
    Result,
    Revocation,
    SubjectName,
    Voiding,
)
from credentials.tables.issued import Badge, Eligibility, SigningKey, StatusList, Transcript

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
    "Pin",
    "Result",
    "Revocation",
    "SigningKey",
    "StatusList",
    "SubjectName",
    "Transcript",
    "Voiding",
]
