"""What takes a credential apart: in the process that is asked, or in another."""

from typing import Protocol

from credentials.adapters.verification.examination import Examined
from credentials.adapters.verification.limits import Limits


class Examiner(Protocol):
    @property
    def limits(self) -> Limits: ...

    async def examine(self, document: bytes) -> Examined:
        """What a document says. Raises what `examination.examine` raises."""
        ...

    def keep(self, document: bytes, examined: Examined) -> None:
        """May be looked at again: it proved genuine."""
        ...
