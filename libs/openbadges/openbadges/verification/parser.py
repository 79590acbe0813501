"""The parser of credentials as the verifier knows it, be it in this process or in another."""

from typing import Protocol

from openbadges.verification.limits import Limits
from openbadges.verification.parsing import ParsedCredential


class Parser(Protocol):
    """Parses credentials, and may keep what it parsed."""

    @property
    def limits(self) -> Limits: ...

    async def parse(self, document: bytes) -> ParsedCredential:
        """Return what a document says. Raises what `parsing.parse` raises."""
        ...

    def keep(self, document: bytes, parsed: ParsedCredential) -> None:
        """Keep what a document says for further calls, since it proved genuine."""
        ...
