"""The tables, by what they hold. Importing the package completes the metadata of `Base`."""

from credentials.tables import (
    awards,
    courses,
    documents,
    facts,
    issued,
    keys,
    partners,
    people,
    prior_learning,
    reports,
    sharing,
    transfers,
)
from credentials.tables.base import Base

__all__ = [
    "Base",
    "awards",
    "courses",
    "documents",
    "facts",
    "issued",
    "keys",
    "partners",
    "people",
    "prior_learning",
    "reports",
    "sharing",
    "transfers",
]
