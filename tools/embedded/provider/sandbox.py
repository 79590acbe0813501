"""A payment provider that moves no money: sessions, payments that advance by themselves, refunds, callbacks.

Shapes and statuses are Flywire's (developers.flywire.com: checkout sessions, payments, refunds, notifications).
"""

import asyncio
import heapq
import json
import secrets
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

import httpx

from embedded.provider.books import Books, Record
from embedded.provider.settings import Settings
from embedded.provider.shapes import (
    ACTIVE_REFUND,
    AT_ONCE,
    DECLINED,
    FINAL_REFUND,
    LIVES,
    MAGIC,
    PAYMENT_CALLBACK_FIELDS,
    PENDING,
    REFUND_CALLBACK_FIELDS,
    REFUND_ENDS,
    CallbackMode,
    NextFailure,
    NotPossible,
    instant,
    sign,
    stamp,
)
from shared.clock import Clock


class Sandbox:
    """The provider's sessions, payments, refunds and callbacks, and the agenda by which they advance."""

    def __init__(self, settings: Settings, http: httpx.AsyncClient, clock: Clock) -> None:
        self.settings, self.http, self.clock = settings, http, clock
        self.books = Books(settings.file)
        self.callbacks = CallbackMode()
        self.failures: list[NextFailure] = []
        self._agenda: list[tuple[datetime, int, str, str]] = []
        self._count = 0
        self._wake = asyncio.Event()
        self._sending: set[asyncio.Task[None]] = set()
        self._at_once = asyncio.Semaphore(20)
        self._locks = WeakValueDictionary[str, asyncio.Lock]()
        self._resume()

    # sessions

    def create_session(self, body: Record) -> Record:
        id_ = secrets.token_hex(16)
        now = self.clock()
        session: Record = {
            "id": id_,
            "status": "open",
            "payor": body["payor"],
            "items": body["items"],
            "amount": sum(item["amount"] for item in body["items"]),
            "currency": body["currency"],
            "recipient": body["recipient"],
            "return_url": body["options"]["form"].get("return_url"),
            "notifications_url": body["notifications_url"],
            "external_reference": body["external_reference"],
            "created_at": stamp(now),
            "expires_at": stamp(now + timedelta(minutes=self.settings.session_minutes)),
            "payment_id": None,
        }
        self.books.put("session", id_, session)
        return session

    def session(self, id_: str) -> Record:
        session = self.books.get("session", id_)
        if session is None:
            raise NotPossible(404, "not_found", "There is no such session")
        if session["status"] == "open" and instant(session["expires_at"]) <= self.clock():
            session["status"] = "expired"
            self.books.put("session", id_, session)
        return session

    def expire_session(self, id_: str) -> Record:
        session = self.session(id_)
        if session["status"] == "paid":
            raise NotPossible(422, "invalid_status", "The session is paid")
        session["status"] = "expired"
        self.books.put("session", id_, session)
        return session

    def pay(self, id_: str, *, first_name: str, last_name: str, method: str, amount: int | None = None) -> Record:
        """Make the payment of a payer who has finished the form."""
        session = self.session(id_)
        if session["status"] != "open":
            raise NotPossible(422, "invalid_status", f"The session is {session['status']}")
        reference = self._reference(session["recipient"]["id"])
        amount = session["amount"] if amount is None else amount
        payment: Record = {
            "payment_id": reference,
            "session_id": id_,
            "status": None,
            "amount_from": amount,
            "currency_from": session["currency"],
            "amount_to": amount,
            "currency_to": session["currency"],
            "external_reference": session["external_reference"],
            "country": session["payor"].get("country", "GB"),
            "payment_method": {"type": method, "brand": "visa", "last_four_digits": "1111"}
            if method == "card"
            else {"type": method},
            "payer": {**session["payor"], "first_name": first_name, "last_name": last_name},
            "fields": {field["id"]: field["value"] for field in session["recipient"].get("fields", [])},
            "notifications_url": session["notifications_url"],
            "created_at": stamp(self.clock()),
            "history": [],
            "plan": list(MAGIC.get(first_name.strip(), LIVES[method])),
        }
        session["status"], session["payment_id"] = "paid", reference
        self.books.put("session", id_, session)
        self.books.put("payment", reference, payment)
        self._advance(payment)
        return payment

    def _reference(self, recipient: str) -> str:
        while True:
            reference = f"{recipient}{secrets.randbelow(10**9):09d}"
            if self.books.get("payment", reference) is None:
                return reference

    # payments

    def payment(self, reference: str) -> Record:
        payment = self.books.get("payment", reference)
        if payment is None:
            raise NotPossible(404, "not_found", "There is no such payment")
        return payment

    def payments(self, created_from: datetime | None) -> list[Record]:
        return self._created("payment", created_from)

    def _created(self, kind: str, since: datetime | None) -> list[Record]:
        found = sorted(self.books.all(kind), key=lambda one: (one["created_at"], one[f"{kind}_id"]))
        return [one for one in found if since is None or instant(one["created_at"]) >= since]

    def set_status(self, payment: Record, status: str, *, at: datetime | None = None, reason_code: str = "") -> None:
        """Set the status of a payment and send the callback about it."""
        at = at or self.clock()
        payment["status"] = status
        payment["reason_code"] = reason_code
        payment["history"].append({"status": status, "at": stamp(at)})
        self.books.put("payment", payment["payment_id"], payment)
        data = {name: payment[name] for name in PAYMENT_CALLBACK_FIELDS}
        data["amount_from"], data["amount_to"] = str(payment["amount_from"]), str(payment["amount_to"])
        self._call_back(payment["notifications_url"], status, "payments", at, data)

    def _advance(self, payment: Record) -> None:
        """Take the steps of the payment's plan that happen at once, and schedule the next one."""
        while payment["plan"] and (payment["plan"][0] in AT_ONCE):
            self.set_status(payment, payment["plan"].pop(0))
        self._plan_payment(payment)
        self.books.put("payment", payment["payment_id"], payment)

    def decline(self, payment: Record) -> None:
        """Take planned steps that decline the card now, while the payer waits, not later."""
        while payment["status"] in PENDING and payment["plan"][:1] and payment["plan"][0] in DECLINED:
            self.set_status(payment, payment["plan"].pop(0))
        self._plan_payment(payment)
        self.books.put("payment", payment["payment_id"], payment)

    def _plan_payment(self, payment: Record) -> None:
        if payment["plan"]:
            later = payment["plan"][0] == "delivered"
            seconds = self.settings.delivered_after_seconds if later else self.settings.guaranteed_after_seconds
            payment["step_at"] = stamp(self.clock() + timedelta(seconds=seconds))
            self._note(payment["step_at"], "payment", payment["payment_id"])

    # refunds

    def create_refund(self, reference: str, amount: int, external_reference: str, notifications_url: str) -> Record:
        payment = self.payment(reference)
        if payment["status"] != "delivered":
            raise NotPossible(422, "invalid_status", "Only a delivered payment can be refunded")
        others = self.refunds(reference)
        if any(refund["status"] in ACTIVE_REFUND for refund in others):
            raise NotPossible(422, "active_refund", "A refund of this payment is under way")
        given = sum(refund["amount"] for refund in others if refund["status"] == "finished")
        if amount < 1 or given + amount > payment["amount_to"]:
            raise NotPossible(422, "invalid_amount", "More than what is left of the payment", "amount")
        refund: Record = {
            "refund_id": f"RF{secrets.randbelow(10**9):09d}",
            "payment_id": reference,
            "amount": amount,
            "currency": payment["currency_to"],
            "status": None,
            "external_reference": external_reference,
            "notifications_url": notifications_url,
            "created_at": stamp(self.clock()),
            "plan": ["received", "finished"],
        }
        self.books.put("refund", refund["refund_id"], refund)
        self.set_refund_status(refund, "initiated")
        self._plan_refund(refund)
        return refund

    def refund(self, id_: str) -> Record:
        refund = self.books.get("refund", id_)
        if refund is None:
            raise NotPossible(404, "not_found", "There is no such refund")
        return refund

    def all_refunds(self, created_from: datetime | None) -> list[Record]:
        return self._created("refund", created_from)

    def refunds(self, reference: str) -> list[Record]:
        found = [refund for refund in self.books.all("refund") if refund["payment_id"] == reference]
        return sorted(found, key=lambda one: one["created_at"])

    def cancel_refund(self, id_: str) -> Record:
        refund = self.refund(id_)
        if refund["status"] != "initiated":
            raise NotPossible(422, "invalid_status", f"The refund is {refund['status']}")
        self.set_refund_status(refund, "cancelled")
        return refund

    def move_refund(self, refund: Record, status: str) -> None:
        """Set the status of a refund as a test wants it; raises NotPossible where the provider could not do so."""
        if status not in REFUND_ENDS.get(refund["status"], {status}):
            raise NotPossible(422, "invalid_status", f"A refund that is {refund['status']} cannot become {status}")
        self.set_refund_status(refund, status)

    def set_refund_status(self, refund: Record, status: str) -> None:
        refund["status"] = status
        if status in FINAL_REFUND:
            refund["plan"] = []
        self.books.put("refund", refund["refund_id"], refund)
        data = {name: refund[name] for name in REFUND_CALLBACK_FIELDS}
        self._call_back(refund["notifications_url"], status, "refunds", self.clock(), data)

    def _plan_refund(self, refund: Record) -> None:
        if refund["plan"]:
            refund["step_at"] = stamp(self.clock() + timedelta(seconds=self.settings.refund_step_seconds))
            self.books.put("refund", refund["refund_id"], refund)
            self._note(refund["step_at"], "refund", refund["refund_id"])

    # callbacks

    def _call_back(self, url: str, event_type: str, resource: str, at: datetime, data: Record) -> None:
        if not url or self.callbacks.mode == "drop":
            return
        event = {"event_type": event_type, "event_date": stamp(at), "event_resource": resource, "data": data}
        delivery: Record = {
            "id": secrets.token_hex(8),
            "number": self._next(),
            "payment_id": data["payment_id"],
            "url": url,
            "body": json.dumps(event, separators=(",", ":")),
            "copies": self.callbacks.copies,
            "tries": 0,
            "held": self.callbacks.mode == "hold",
            "due_at": stamp(self.clock() + timedelta(seconds=self.callbacks.delay_seconds)),
        }
        self.books.put("delivery", delivery["id"], delivery)
        if not delivery["held"]:
            self._note(delivery["due_at"], "delivery", delivery["id"])

    def release(self, *, newest_first: bool) -> int:
        """Send the callbacks that were held back, in the order asked for. Returns how many are sent."""
        held = sorted(
            (one for one in self.books.all("delivery") if one["held"]),
            key=lambda one: one["number"],
            reverse=newest_first,
        )
        for delivery in held:
            delivery["held"] = False
            self.books.put("delivery", delivery["id"], delivery)
            self._note(stamp(self.clock()), "delivery", delivery["id"])
        return sum(one["copies"] for one in held)

    async def _deliver(self, id_: str) -> None:
        delivery = self.books.get("delivery", id_)
        if delivery is None:
            return
        url, body = delivery["url"], delivery["body"].encode()
        # One payment's callbacks one after the other: sent together they would queue up on the receiver's lock. Copies
        # are meant to arrive together.
        async with self._locks.setdefault(delivery["payment_id"], asyncio.Lock()), self._at_once:
            delivered = all(await asyncio.gather(*(self._post(url, body) for _ in range(delivery["copies"]))))
        tries: int = delivery["tries"]
        if delivered or tries >= len(self.settings.retry_seconds):
            self.books.remove("delivery", id_)
            return
        wait = self.settings.retry_seconds[tries]
        delivery["tries"] = tries + 1
        delivery["due_at"] = stamp(self.clock() + timedelta(seconds=wait))
        self.books.put("delivery", id_, delivery)
        self._note(delivery["due_at"], "delivery", id_)

    async def _post(self, url: str, body: bytes) -> bool:
        headers = {
            "Content-Type": "application/json",
            "X-Flywire-Digest": sign(body, self.settings.shared_secret.get_secret_value()),
        }
        try:
            answer = await self.http.post(
                url, content=body, headers=headers, timeout=self.settings.callback_timeout_seconds
            )
        except httpx.HTTPError:
            return False
        return answer.is_success

    # time

    async def run(self) -> None:
        """Take each planned step and send each callback when it is due, for ever."""
        while True:
            self._take_due()
            self._wake.clear()
            try:
                async with asyncio.timeout(self._rest()):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def _rest(self) -> float | None:
        """Return the seconds until something is due; None where nothing is planned."""
        if not self._agenda:
            return None
        due, *_ = self._agenda[0]
        return max((due - self.clock()).total_seconds(), 0.001)

    async def run_due(self) -> None:
        """Do everything due at this instant, one callback after the other, for tests."""
        while self._agenda and self._agenda[0][0] <= self.clock():
            self._take_due(limit=1)
            while self._sending:
                await asyncio.gather(*self._sending)

    def _take_due(self, limit: int | None = None) -> None:
        taken = 0
        while self._agenda and self._agenda[0][0] <= self.clock() and taken != limit:
            _, _, kind, id_ = heapq.heappop(self._agenda)
            taken += 1
            if kind == "delivery":
                task = asyncio.create_task(self._deliver(id_))
                self._sending.add(task)
                task.add_done_callback(self._sending.discard)
            elif kind == "payment":
                payment = self.payment(id_)
                if payment["plan"]:
                    self.set_status(payment, payment["plan"].pop(0))
                    self._advance(payment)
            else:
                refund = self.refund(id_)
                if refund["plan"]:
                    self.set_refund_status(refund, refund["plan"].pop(0))
                    self._plan_refund(refund)

    def _note(self, at: str, kind: str, id_: str) -> None:
        heapq.heappush(self._agenda, (instant(at), self._next(), kind, id_))
        self._wake.set()

    async def close(self) -> None:
        for task in list(self._sending):
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self.http.aclose()
        self.books.close()

    def _next(self) -> int:
        self._count += 1
        return self._count

    def _resume(self) -> None:
        """Schedule, after a restart, what was under way."""
        for payment in self.books.all("payment"):
            if payment["plan"]:
                self._note(payment["step_at"], "payment", payment["payment_id"])
        for refund in self.books.all("refund"):
            if refund["plan"]:
                self._note(refund["step_at"], "refund", refund["refund_id"])
        for delivery in self.books.all("delivery"):
            self._count = max(self._count, delivery["number"])
            if not delivery["held"]:
                self._note(delivery["due_at"], "delivery", delivery["id"])

    # failures to order

    def next_failure(self, operation: str) -> NextFailure | None:
        """Return the failure ordered for this operation, if any, and count it as used."""
        for failure in self.failures:
            if failure.operation == operation and failure.times > 0:
                failure.times -= 1
                return failure
        return None
