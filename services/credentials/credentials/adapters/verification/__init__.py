"""Verify a credential, ours or another's, in the same way: is it genuine, and does it still stand?

`reading` unwraps what was uploaded (JSON, JWT, PNG, SVG), `parsing` finds out what it says and what exactly was signed,
`issuers` and `status_checks` check what it refers to, and `verifier` asks the questions and sums up the answers in a
`report`. All that computing is done in a bounded process for each document (`worker`), for which `sandbox_pool` waits
for a slot (`slots`) and fetches through `outside`. `entry` is where verification begins.
"""

from credentials.adapters.verification.entry import Verifier
from credentials.adapters.verification.limits import Limits
from credentials.adapters.verification.outside import Outside, Unreachable, Web
from credentials.adapters.verification.report import (
    Check,
    CheckOutcome,
    IssuerKnown,
    Kind,
    Question,
    Report,
    Status,
    not_recorded,
    revoked,
    sentence,
)
from credentials.adapters.verification.verifier import reconsidered

__all__ = [
    "Check",
    "CheckOutcome",
    "IssuerKnown",
    "Kind",
    "Limits",
    "Outside",
    "Question",
    "Report",
    "Status",
    "Unreachable",
    "Verifier",
    "Web",
    "not_recorded",
    "reconsidered",
    "revoked",
    "sentence",
]
