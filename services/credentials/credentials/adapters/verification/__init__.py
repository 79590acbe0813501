"""Is a credential genuine, and does it still stand? Ours and others', asked in the same way.

`reading` takes what was given apart (JSON, JWT, PNG, SVG), `examination` finds out what it says and what exactly was
signed, `workbench` does both in a bounded process of its own, `outside` fetches what a credential refers to,
`issuers` and `standing` know what to make of that, and `verifier` puts the questions and sums up the answers in a
`report`.
"""

from credentials.adapters.verification.limits import Limits
from credentials.adapters.verification.outside import Outside, Unreachable, Web
from credentials.adapters.verification.report import Check, CheckOutcome, Kind, Question, Report, Status, revoked
from credentials.adapters.verification.verifier import Verifier, reconsidered

__all__ = [
    "Check",
    "CheckOutcome",
    "Kind",
    "Limits",
    "Outside",
    "Question",
    "Report",
    "Status",
    "Unreachable",
    "Verifier",
    "Web",
    "reconsidered",
    "revoked",
]
