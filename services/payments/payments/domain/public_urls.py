"""The addresses that people are given: a receipt's, and where a payer may be sent back to."""

from collections.abc import Sequence
from dataclasses import dataclass
from hmac import compare_digest
from uuid import UUID

from payments.domain.orders import ReturnUrlNotAllowed
from shared.digests import Digests
from shared.origins import AllowedOrigins, origin_of


@dataclass(frozen=True, slots=True)
class Seller:
    """The seller that receipts name."""

    name: str


class PublicUrls:
    """The addresses of receipts, and the origins a payer may be sent back to.

    `public_url` is the platform as people see it; `front_ends` are further origins. `digests` seal a receipt's address:
    whoever was sent it may read the receipt without signing in.

    :raises ValueError: one of them is no origin
    """

    def __init__(self, public_url: str, digests: Digests, front_ends: Sequence[str] = ()) -> None:
        self.public_url = public_url
        self._digests = digests
        self._allowed = AllowedOrigins([*filter(None, [origin_of(public_url)]), *front_ends])

    def receipt(self, order_id: UUID) -> str:
        return f"{self.public_url.rstrip('/')}/receipts/{order_id}/{self._seal(order_id)}"

    def opens_receipt(self, order_id: UUID, seal: str) -> bool:
        """Return whether `seal` is what the address of that receipt ends in."""
        return compare_digest(seal.encode(), self._seal(order_id).encode())

    def _seal(self, order_id: UUID) -> str:
        return self._digests.of(b"receipt", order_id.bytes)[:16].hex()

    def return_url(self, wanted: str | None, order_id: UUID) -> str:
        """Return where the pay page sends the payer back to; raises ReturnUrlNotAllowed (an open redirect
        otherwise)."""
        if wanted is None:
            return f"{self.public_url.rstrip('/')}/?order_id={order_id}"
        if origin_of(wanted) not in self._allowed:
            raise ReturnUrlNotAllowed("the payer may not be sent back there", allowed=sorted(self._allowed.named))
        return wanted
