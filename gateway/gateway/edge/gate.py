"""Who is calling: an access token is verified once and remembered, whole, until it expires.

No token is no refusal here: services decide what is public. A bad one is refused before it costs more.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from gateway.edge.refusals import InvalidToken


@dataclass(frozen=True, slots=True)
class Caller:
    """`key` tells callers apart (account or client id); `expires` is POSIX time."""

    key: str
    partner: bool
    expires: float


class Gate:
    """`verify` raises :class:`InvalidToken`; `leeway` is that of the verifier, in seconds."""

    def __init__(
        self, verify: Callable[[str, float], Awaitable[Caller]], *, capacity: int = 20_000, leeway: float = 30.0
    ) -> None:
        self._verify = verify
        self._capacity = capacity
        self._leeway = leeway
        self._known: dict[bytes, Caller] = {}

    def recall(self, token: bytes, now: float) -> Caller | None:
        """The caller of a token verified before and not expired since."""
        caller = self._known.get(token)
        if caller is not None and caller.expires + self._leeway <= now:
            del self._known[token]
            return None
        return caller

    async def admit(self, token: bytes, now: float) -> Caller:
        """Verify a token not seen before.

        :raises InvalidToken: 401
        """
        try:
            text = token.decode("ascii")
        except UnicodeDecodeError as error:
            raise InvalidToken("the access token is no token") from error
        caller = await self._verify(text, now)
        if len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        self._known[token] = caller
        return caller

    def forget(self) -> None:
        """After a key was retired no earlier verdict stands."""
        self._known.clear()
