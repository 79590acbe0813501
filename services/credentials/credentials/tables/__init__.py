"""The tables, by what they hold."""

from credentials.tables.awards import Allocation, Award, AwardReview, CreditHold, PendingEmail
from credentials.tables.base import Base
from credentials.tables.courses import Enrolment, OfferedCourse, Price
from credentials.tables.documents import Document, Edition, Printing
from credentials.tables.facts import (
    Achievement,
    Credit,
    Dispute,
    DueDerivation,
    MisconductCase,
    Payment,
    Pin,
    Reinstatement,
    Result,
    Revocation,
    SubjectName,
    Voiding,
)
from credentials.tables.issued import AssignedStatusEntry, Badge, Eligibility, StatusList
from credentials.tables.keys import KeyEvent, Signature, SigningKey
from credentials.tables.partners import (
    Partner,
    WebhookAttempt,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookPosition,
    WebhookSecret,
)
from credentials.tables.people import Learner, Person
from credentials.tables.prior_learning import Evidence, PriorLearning
from credentials.tables.reports import Rebuild, RegulationReport, RegulationReportLine
from credentials.tables.sharing import Share, Viewing
from credentials.tables.transfers import Programme, Transfer, TransferLine

__all__ = [
    "Achievement",
    "Allocation",
    "AssignedStatusEntry",
    "Award",
    "AwardReview",
    "Badge",
    "Base",
    "Credit",
    "CreditHold",
    "Dispute",
    "Document",
    "DueDerivation",
    "Edition",
    "Eligibility",
    "Enrolment",
    "Evidence",
    "KeyEvent",
    "Learner",
    "MisconductCase",
    "OfferedCourse",
    "Partner",
    "Payment",
    "PendingEmail",
    "Person",
    "Pin",
    "Price",
    "Printing",
    "PriorLearning",
    "Programme",
    "Rebuild",
    "RegulationReport",
    "RegulationReportLine",
    "Reinstatement",
    "Result",
    "Revocation",
    "Share",
    "Signature",
    "SigningKey",
    "StatusList",
    "SubjectName",
    "Transfer",
    "TransferLine",
    "Viewing",
    "Voiding",
    "WebhookAttempt",
    "WebhookDelivery",
    "WebhookEndpoint",
    "WebhookPosition",
    "WebhookSecret",
]
