"""Where people are sent: the receipt's address, and which places a payer may return to."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

from payments.domain.orders import ReturnUrlNotAllowed


@dataclass(frozen=True, slots=True)
class Addresses:
    public_url: str
    """The platform as people see it."""
    front_ends: Sequence[str] = ()
    """Origins besides the platform's own to which a payer may be sent back."""

    def receipt(self, order_id: UUID) -> str:
        return f"{self.public_url.rstrip('/')}/v1/orders/{order_id}/receipt"

    def return_url(self, wanted: str | None, order_id: UUID) -> str:
        """Where the pay page sends the payer back to; raises ReturnUrlNotAllowed (an open redirect otherwise)."""
        if wanted is None:
            return f"{self.public_url.rstrip('/')}/?order_id={order_id}"
        allowed = {_origin(url) for url in (self.public_url, *self.front_ends)}
        if _origin(wanted) not in allowed:
            raise ReturnUrlNotAllowed("the payer may not be sent back there", allowed=sorted(filter(None, allowed)))
        return wanted


def _origin(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or "\\" in url:
        return None
    return f"{parts.scheme}://{parts.hostname}:{port}"
