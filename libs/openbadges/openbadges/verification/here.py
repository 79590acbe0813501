"""Verify in this process: for documents one trusts to be of honest size, and for programs that do nothing else.

A stranger's document may take seconds and much memory: `verifier` works on each in a process of its own.
"""

from datetime import datetime
from hashlib import sha256

from openbadges.verification import parsing
from openbadges.verification.limits import Limits
from openbadges.verification.outside import Outside, Web
from openbadges.verification.parsing import ParsedCredential
from openbadges.verification.questions import Asking
from openbadges.verification.report import Report


class InProcess:
    """Parses in this process, each document once."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._known: dict[bytes, ParsedCredential] = {}

    async def parse(self, document: bytes) -> ParsedCredential:
        """Return what a document says. Raises what `parsing.parse` raises."""
        digest = sha256(document).digest()
        if digest not in self._known:
            self._known[digest] = parsing.parse(document, self.limits)
        return self._known[digest]

    def keep(self, document: bytes, parsed: ParsedCredential) -> None:
        """Do nothing, since it is kept for as long as this lives."""


async def verify(document: bytes, now: datetime, *, web: Web | None = None, limits: Limits | None = None) -> Report:
    """Return the answers to every question about a credential: JSON, a JWT, or a PNG or SVG with either baked in.

    `web` fetches what it refers to; by default only public addresses are asked. Raises BadgeError for what is no
    credential at all.
    """
    limits = limits or Limits()
    parser = InProcess(limits)
    asking = Asking(parser, web or Outside(limits), now)
    return await asking.verified(await parser.parse(document))
