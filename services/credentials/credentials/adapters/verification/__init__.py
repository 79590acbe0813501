"""Is a credential genuine, and does it still stand? Ours and others', asked in the same way.

`reading` takes what was given apart (JSON, JWT, PNG, SVG), `examination` finds out what it says and what exactly was
signed, `issuers` and `standing` know what to make of what it refers to, and `verifier` puts the questions and sums up
the answers in a `report`. All that computing is done in a bounded process for each document (`worker`), to which
`workbench` gives a place in line (`places`) and for which `outside` fetches. `entry` is the way in.
"""

from credentials.adapters.verification.entry import Verifier
from credentials.adapters.verification.limits import Limits
from credentials.adapters.verification.outside import Outside, Unreachable, Web
from credentials.adapters.verification.report import (
    Check,
    CheckOutcome,
    Kind,
    Question,
    Report,
    Status,
    revoked,
    sentence,
)
from credentials.adapters.verification.verifier import reconsidered

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
    "sentence",
]
