"""Flywire's REST API: checkout sessions, payments, refunds and signed callbacks (developers.flywire.com).

What its documentation leaves uncertain is a setting. No call is documented as idempotent, so none is repeated blindly:
after ProviderUnavailable the caller first finds out what became of it.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from time import monotonic
from typing import Any, Final, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from payments.adapters.flywire_shapes import (
    REFERENCE,
    Callback,
    Confirmed,
    Expired,
    Payment,
    Payments,
    Problem,
    Refund,
    Refunds,
    RefundsOfPayment,
    Session,
    references_in,
)
from payments.adapters.provider import (
    Checkout,
    CheckoutOrder,
    Listed,
    ProviderNotReached,
    ProviderRefused,
    ProviderUnavailable,
    ProviderUnclear,
    Unreadable,
)
from payments.domain.payments import BadSignature, PaymentFact
from payments.domain.refunds import RefundFact
from shared.clock import Clock, system_clock
from shared.failpoints import failpoint
from shared.peers import PeerAway, PeerNotReached, ask

log = logging.getLogger(__name__)

DIGEST_HEADER: Final = "X-Flywire-Digest"
KEY_HEADER: Final = "X-Authentication-Key"
MINUTE: Final = 60.0
AT_ONCE: Final = 8
"""Calls under way at once: enough for the 500 a minute that Flywire allows. For each call httpx looks through all that
are open, so more would be slower."""
LONGEST_NAME: Final = 100
"""Of a payer's names, in characters. Flywire documents no limit; a name only fills in its form."""
KEPT_FOR_PEOPLE: Final = 4
"""One call in so many is kept for `URGENT` operations: background calls must not make payers wait."""
URGENT: Final = frozenset({"create_checkout"})
TIMES: Final = 2  # the time-out holds for each step of a call; the whole call may take so many time-outs
MOST_BYTES: Final = 10_000_000  # of an answer
PER_PAGE: Final = 100  # the most Flywire gives
NOT_NOW: Final = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,  # our key is being replaced, or wrong: that is no answer to what was asked
        HTTPStatus.FORBIDDEN,
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    }
)
TURNED_AWAY: Final = NOT_NOW - {HTTPStatus.REQUEST_TIMEOUT}
"""Those by which the provider itself says that it did not look at what was asked."""
OVER: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.UNPROCESSABLE_ENTITY})
"""Of a checkout session: there is none, or what is asked of it cannot be done, as it is not paid yet or has ended."""
_Model = TypeVar("_Model", bound=BaseModel)


class _NotSent(Exception):
    """A call that was no longer to be sent once a slot for it was free."""


@dataclass(frozen=True)
class FlywireAccount:
    """Flywire's address, and our key and portal there. `secrets` may all sign callbacks: two while one is replaced."""

    url: str
    api_key: str
    secrets: Sequence[str]
    recipient: str
    recipient_field: str
    """The field this recipient requires of every payment (each portal has its own); it carries our reference."""
    notifications_url: str
    timeout_seconds: float
    calls_per_minute: int = 0
    """The most calls a minute; 0 for no limit. Above 500, Flywire answers 429 and blocks the address for 10 minutes."""


class Flywire:
    """The PaymentProvider that calls Flywire's API over HTTP."""

    name = "flywire"

    def __init__(
        self,
        account: FlywireAccount,
        *,
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
        clock: Clock = system_clock,
    ) -> None:
        self._account, self._clock = account, clock
        self._called: deque[float] = deque()
        self._under_way = asyncio.Semaphore(AT_ONCE)
        self._secrets = [secret.encode() for secret in account.secrets]
        self._http = httpx.AsyncClient(
            base_url=f"{account.url.rstrip('/')}/payments/v1",
            headers={KEY_HEADER: account.api_key},
            timeout=account.timeout_seconds,
            transport=transport() if transport else None,
            # The provider may lie behind a company's proxy; the sandbox on this machine does not.
            trust_env=httpx.URL(account.url).host not in {"localhost", "127.0.0.1", "::1"},
        )

    async def aclose(self) -> None:
        await self._http.aclose()

    async def create_checkout(self, order: CheckoutOrder, now: datetime) -> Checkout:
        body = {
            "type": "one_off",
            "charge_intent": {"mode": "one_off"},
            "payor": {
                # The form is filled in with them, and the payer may change them there: nobody is refused for a name.
                "first_name": order.payer.given_name[:LONGEST_NAME],
                "last_name": order.payer.family_name[:LONGEST_NAME],
                "email": order.payer.email,
                "country": order.payer.country,
            },
            "options": {"form": {"action_button": "pay", "return_url": order.return_url}},
            "recipient": {
                "id": self._account.recipient,
                "fields": [{"id": self._account.recipient_field, "value": order.reference}],
            },
            "currency": order.currency,
            "items": [
                {"id": item.id, "description": item.description, "amount": item.amount_minor} for item in order.items
            ],
            "notifications_url": self._account.notifications_url,
            "external_reference": order.reference,
        }
        session = _read(Session, await self._ask("create_checkout", "POST", "/checkout/sessions", content=body))
        return Checkout(session.id, session.hosted_form.url, now + timedelta(seconds=session.expires_in_seconds))

    async def confirm_checkout(self, provider_session: str) -> str | None:
        path = f"/checkout/sessions/{provider_session}/confirm"
        answer = await self._ask("confirm_checkout", "POST", path, allowed=OVER)
        return _read(Confirmed, answer).payment_reference if answer.is_success else None

    async def expire_checkout(self, provider_session: str) -> None:
        # What is paid, expired or forgotten there already cannot be paid any more, which is all we want.
        path = f"/checkout/sessions/{provider_session}/expire"
        answer = await self._ask("expire_checkout", "POST", path, allowed=OVER)
        if answer.is_success:
            _read(Expired, answer)

    def parse_notification(self, headers: Mapping[str, str], raw_body: bytes) -> PaymentFact | RefundFact | Unreadable:
        given = headers.get(DIGEST_HEADER, "").encode("latin-1", "replace")
        # Every secret is tried: the time taken must not show which one matched.
        if not sum(hmac.compare_digest(sign(raw_body, secret), given) for secret in self._secrets):
            raise BadSignature("the notification is not signed by the payment provider")
        try:
            callback = Callback.model_validate_json(raw_body)
            if callback.event_resource.startswith("refund"):
                return Refund.model_validate(callback.data).fact(callback.event_date)
            return Payment.model_validate(callback.data).fact(callback.event_date)
        except ValidationError as error:
            return Unreadable(_why(error), **references_in(raw_body))

    async def fetch_payment(self, reference: str) -> PaymentFact:
        asked_at = self._clock()
        said = _read(Payment, await self._ask("fetch_payment", "GET", f"/payments/{reference}"))
        return _about(reference, said.payment_id, said).fact(asked_at)

    async def list_payments(self, since: datetime, page: int) -> Listed[PaymentFact]:
        asked_at = self._clock()
        some = _read(Payments, await self._list("list_payments", "/payments", since, page)).payments
        read, unreadable = _readable(Payment, some, "payment_id")
        return Listed([one.fact(asked_at) for one in read], unreadable)

    async def list_refunds(self, since: datetime, page: int) -> Listed[RefundFact]:
        asked_at = self._clock()
        some = _read(Refunds, await self._list("list_refunds", "/refunds", since, page)).refunds
        read, unreadable = _readable(Refund, some, "refund_id")
        return Listed([one.fact(asked_at) for one in read], unreadable)

    async def _list(self, operation: str, path: str, since: datetime, page: int) -> httpx.Response:
        parameters = {"created_from": since.astimezone(UTC).isoformat(), "page": page, "per_page": PER_PAGE}
        return await self._ask(operation, "GET", path, params=parameters)

    async def create_refund(
        self, reference: str, amount_minor: int, our_refund_id: str, still_ours: Callable[[], Awaitable[bool]]
    ) -> RefundFact | None:
        asked_at = self._clock()
        body = {
            "amount": amount_minor,
            "external_reference": our_refund_id,
            "notifications_url": self._account.notifications_url,
        }
        path = f"/payments/{reference}/refunds"
        try:
            answer = await self._ask("create_refund", "POST", path, content=body, while_true=still_ours)
        except _NotSent:
            return None
        return _read(Refund, answer).fact(asked_at)

    async def refunds_of(self, reference: str) -> Sequence[RefundFact]:
        asked_at = self._clock()
        answer = await self._ask("find_refund", "GET", f"/payments/{reference}/refunds")
        return [one.fact(asked_at) for one in _read(RefundsOfPayment, answer).refunds]

    async def fetch_refund(self, provider_refund_id: str) -> RefundFact:
        asked_at = self._clock()
        said = _read(Refund, await self._ask("fetch_refund", "GET", f"/refunds/{provider_refund_id}"))
        return _about(provider_refund_id, said.refund_id, said).fact(asked_at)

    async def _wait_for_slot(self, *, urgent: bool) -> None:
        """Wait until a call fits into the last minute's allowance, of which a part is kept for `URGENT` operations."""
        most = self._account.calls_per_minute
        if not most:
            return
        if not urgent:
            most = max(1, most - most // KEPT_FOR_PEOPLE)
        while True:
            while self._called and self._called[0] <= monotonic() - MINUTE:
                self._called.popleft()
            if len(self._called) < most:
                self._called.append(monotonic())
                return
            await asyncio.sleep(max(0.001, self._called[-most] + MINUTE - monotonic()))

    async def _ask(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        content: object = None,
        params: Mapping[str, str | int] | None = None,
        allowed: Collection[int] = (),
        while_true: Callable[[], Awaitable[bool]] | None = None,
    ) -> httpx.Response:
        await self._wait_for_slot(urgent=operation in URGENT)
        failpoint(f"{operation}_asking")
        try:
            async with self._under_way:
                if while_true is not None and not await while_true():
                    raise _NotSent
                answer = await ask(
                    self._http,
                    method,
                    path,
                    json=content,
                    params=params,
                    within=TIMES * self._account.timeout_seconds,
                    most_bytes=MOST_BYTES,
                )
        except PeerAway as error:
            kind = ProviderNotReached if isinstance(error, PeerNotReached) else ProviderUnavailable
            raise kind(
                "the payment provider does not answer at the moment; nothing was charged", headers={"Retry-After": "5"}
            ) from error
        failpoint(f"{operation}_answered")
        if answer.is_success:
            return answer
        # Any other page may come from what stands in front of it, which knows nothing of what the provider has done.
        its_own = _is_its_own(answer)
        if its_own and answer.status_code in allowed:
            return answer
        if answer.status_code in NOT_NOW or answer.is_server_error:
            kind = ProviderNotReached if its_own and answer.status_code in TURNED_AWAY else ProviderUnavailable
            raise kind(f"the payment provider answered {answer.status_code}", headers={"Retry-After": "60"})
        if not its_own or not answer.is_client_error:
            raise _unclear()
        raise ProviderRefused(f"the payment provider answered {answer.status_code}", provider_status=answer.status_code)


def _is_its_own(answer: httpx.Response) -> bool:
    """Return whether an answer without success is in the provider's own words: its problem document."""
    try:
        return Problem.model_validate_json(answer.content).status == answer.status_code
    except ValidationError:
        return False


def sign(raw_body: bytes, secret: bytes) -> bytes:
    """Return base64(HMAC-SHA256(raw body, shared secret)), as in the header X-Flywire-Digest."""
    return base64.b64encode(hmac.digest(secret, raw_body, hashlib.sha256))


def _read(shape: type[_Model], answer: httpx.Response) -> _Model:
    try:
        return shape.model_validate_json(answer.content)
    except ValidationError as error:
        raise _unclear() from error


def _about(asked: str, answered: str, said: _Model) -> _Model:
    """Return an answer. Raises ProviderUnclear where it is about something else than was asked about."""
    if answered != asked:
        raise _unclear()
    return said


def _readable(
    shape: type[_Model], found: Sequence[Any], name: str
) -> tuple[Sequence[_Model], Sequence[Unreadable]]:  # Any: JSON
    """Read each item of a list by itself: one that cannot be read must not hide the others."""
    read, unreadable = list[_Model](), list[Unreadable]()
    for one in found:
        try:
            read.append(shape.model_validate(one))
        except ValidationError as error:
            unreadable.append(_not_understood(one, name, error))
    return read, unreadable


def _not_understood(one: Any, name: str, error: ValidationError) -> Unreadable:  # Any: JSON
    why = _why(error)
    log.error("one of the provider's list cannot be read", extra={"why": why})
    fields: dict[str, Any] = one if isinstance(one, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    reference, external = (
        value if isinstance(value := fields.get(field), str) and re.fullmatch(REFERENCE, value) else ""
        for field in (name, "external_reference")
    )
    digest = hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest()
    return Unreadable(why, reference=reference or digest, our_reference=external)


def _why(error: ValidationError) -> str:
    """Return what is wrong with a body, without its values, which name the payer."""
    return "; ".join(f"{'/'.join(map(str, e['loc']))}: {e['type']}" for e in error.errors())


def _unclear() -> ProviderUnclear:
    return ProviderUnclear(
        "the payment provider answered something we do not understand; it is asked again",
        headers={"Retry-After": "60"},
    )
