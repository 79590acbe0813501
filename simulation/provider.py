"""The payment provider: the sandbox's real HTTP API and books, with payments that move at random."""

import json
import random
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import httpx
from pydantic import SecretStr

from embedded import provider as sandbox_provider
from embedded.provider.shapes import NotPossible
from embedded.services import PROVIDER
from simulation.activities import Activity

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform

MOVES: Final[dict[str, dict[str, float]]] = {
    "initiated": {"processed": 3, "guaranteed": 3, "cancelled": 2, "failed": 1, "word": 1},
    "word": {"processed": 2, "guaranteed": 2, "cancelled": 1},
    "processed": {"guaranteed": 4, "delivered": 3, "cancelled": 1.5, "word": 1},
    "guaranteed": {"delivered": 5, "reversed": 1, "word": 1},
    "delivered": {"reversed": 0.6},
    "cancelled": {"initiated": 2, "processed": 3},
    "reversed": {},
    "failed": {},
}
"""Which status may follow a payment's status, with weights (documented: late money revives a cancelled one)."""
REFUND_MOVES: Final[dict[str, dict[str, float]]] = {
    "initiated": {"received": 5, "cancelled": 2, "word": 1},
    "word": {"received": 2, "cancelled": 1},
    "received": {"finished": 5, "returned": 1},
    "finished": {"returned": 1},
    "returned": {"received": 4},
    "cancelled": {},
}
WORDS: Final = ("charged", "on hold", "pending")
FUNDED: Final = frozenset({"processed", "guaranteed", "delivered"})
LATEST: Final = timedelta(hours=48)
"""How long after a refund was asked for it may be made, unanswered: less than the regulations wait for it."""
IN_FRONT: Final = (None, 403, 429, 404, 401, 502)
"""What a proxy says, one after the other, of requests that go on behind it; None: nothing."""
Record = dict[str, Any]  # Any: JSON


@dataclass(frozen=True)
class LateRefund:
    """A refund that was asked for, and of which nothing is to be seen yet."""

    payment: str
    body: Record
    asked_at: datetime


class Provider:
    """The sandbox provider of one platform, whose callbacks wait until they are taken."""

    def __init__(self, platform: "SimulatedPlatform") -> None:
        self.platform = platform
        settings = sandbox_provider.Settings(
            url=platform.deployment.url(PROVIDER),
            api_key=SecretStr(platform.deployment.secrets["provider api"]),
            shared_secret=SecretStr(platform.deployment.secrets["provider callbacks"]),
            session_minutes=60,
        )
        self.app = sandbox_provider.build(settings, http=httpx.AsyncClient(), clock=platform.time)
        self.sandbox = self.app.state.sandbox
        self.sandbox.callbacks.mode = "hold"
        self.secret = settings.shared_secret.get_secret_value()
        self.history: dict[str, list[str]] = defaultdict(list)
        """By payment or refund: every status it had, the oldest first."""
        self.late: list[LateRefund] = []
        self.by_hand: dict[str, str] = {}
        """The refunds that finance made in the provider's dashboard, each with the order line it was for."""
        self._write_down_history()

    def _write_down_history(self) -> None:
        set_status, set_refund_status = self.sandbox.set_status, self.sandbox.set_refund_status

        def payment_moves(payment: Record, status: str, **more: Any) -> None:  # Any: the sandbox's own
            set_status(payment, status, **more)
            self.history[payment["payment_id"]].append(status)

        def refund_moves(refund: Record, status: str) -> None:
            set_refund_status(refund, status)
            self.history[refund["refund_id"]].append(status)

        self.sandbox.set_status, self.sandbox.set_refund_status = payment_moves, refund_moves

    @property
    def payments(self) -> list[Record]:
        return list(self.sandbox.books.all("payment"))

    @property
    def refunds(self) -> list[Record]:
        return list(self.sandbox.books.all("refund"))

    def pay(self, session_id: str, chance: random.Random) -> Record | None:
        """Pay as a payer who finishes the form. Returns None where the page takes no payment any more."""
        session = self.sandbox.session(session_id)
        if session["status"] != "open":
            return None
        self.platform.changes += 1
        amount = session["amount"]
        if "odd sums" in self.platform.behaviours and chance.random() < 0.4:
            amount = chance.choice([amount - 500, amount // 2, amount + 700, 100])
            if chance.random() < 0.2:
                session["currency"] = "EUR"
        method = chance.choice(["card", "card", "card", "bank_transfer"])
        payment = self.sandbox.pay(session_id, first_name="Ada", last_name="L", method=method, amount=amount)
        payment["plan"] = []
        return payment

    def move(self, chance: random.Random) -> str | None:
        """Move one payment or refund to a status that may follow. Returns which and to what; None where none can."""
        if self.late and chance.random() < 0.5:
            return self._make(chance.choice(self.late))
        movable = [one for one in self.payments if self._moves(one, MOVES)]
        movable += [one for one in self.refunds if self._moves(one, REFUND_MOVES)]
        if not movable:
            return None
        record = chance.choice(movable)
        refund = "refund_id" in record
        options = self._moves(record, REFUND_MOVES if refund else MOVES)
        status = chance.choices(list(options), list(options.values()))[0]
        status = chance.choice(WORDS) if status == "word" else status
        if refund:
            record["plan"] = []
            self.sandbox.set_refund_status(record, status)
            return f"refund {record['refund_id']} {status}"
        if status == "delivered" and "changed sums" in self.platform.behaviours and chance.random() < 0.3:
            record["amount_to"] += 700
        self.sandbox.set_status(record, status)
        return f"payment {record['payment_id']} {status}"

    def _moves(self, record: Record, moves: dict[str, dict[str, float]]) -> dict[str, float]:
        barred: set[str] = set()
        if "odd words" not in self.platform.behaviours:
            barred.add("word")
        if "losses" not in self.platform.behaviours:
            barred |= {"reversed", "failed"} | ({"cancelled"} if record["status"] in FUNDED else set())
        if "returns" not in self.platform.behaviours:
            barred |= {"returned"} | ({"cancelled"} if "refund_id" in record else set())
        options = moves.get(record["status"], moves["word"])
        return {status: weight for status, weight in options.items() if status not in barred}

    def puts_off(self, request: httpx.Request, chance: random.Random) -> bool:
        """Return whether a request is to take effect later, or never, and is not answered by the provider."""
        *_, payment, kind = request.url.path.split("/")
        late = "late effects" in self.platform.behaviours and not self.platform.calm
        if not late or (request.method, kind) != ("POST", "refunds") or chance.random() > 0.25:
            return False
        self.late.append(LateRefund(payment, json.loads(request.content), self.platform.time()))
        return True

    def page_in_front(self, request: httpx.Request) -> httpx.Response:
        """Return the page of a proxy that does not wait for the provider. Raises ReadTimeout where the proxy waits."""
        status = IN_FRONT[len(self.late) % len(IN_FRONT)]
        if status is None:
            raise httpx.ReadTimeout("the provider takes its time")
        return httpx.Response(status, content=b"<html>not now</html>", request=request)

    def _make(self, late: LateRefund) -> str:
        body = late.body
        self.late.remove(late)
        if self.platform.time() > late.asked_at + LATEST:
            return f"no refund of {late.payment}"
        try:
            made = self.sandbox.create_refund(
                late.payment, body["amount"], body["external_reference"], body["notifications_url"]
            )
        except NotPossible as error:
            return f"no refund of {late.payment}: {error}"
        made["plan"] = []
        return f"refund {made['refund_id']} made late"

    def pay_back_by_hand(self, payment: str, amount: int, line: str) -> None:
        """Refund this amount, in minor units, for an order line, as a person in the dashboard; unless it says no."""
        where = f"{self.platform.deployment.url('gateway')}/v1/payment-notifications"
        try:
            made = self.sandbox.create_refund(payment, amount, "by hand", where)
        except NotPossible:
            return
        made["plan"] = []
        self.by_hand[made["refund_id"]] = line
        self.platform.changes += 1

    def take(self) -> list[bytes]:
        """Take the bodies of the callbacks that wait to be sent, the oldest first."""
        held = sorted(self.sandbox.books.all("delivery"), key=lambda one: one["number"])
        for one in held:
            self.sandbox.books.remove("delivery", one["id"])
        return [one["body"].encode() for one in held]

    def distort(self, request: httpx.Request, answer: httpx.Response, activity: Activity | None) -> httpx.Response:
        """Return the answer, or one that nobody can read in its stead."""
        if activity is None or not answer.is_success:
            return answer
        if "garbled answers" in self.platform.behaviours and activity.chance.random() < 0.1:
            return httpx.Response(activity.chance.choice([200, 500, 502, 429]), content=b"{}", request=request)
        return answer

    def end(self) -> bool:
        """Bring all payments and refunds under way to an end. Returns whether there were any."""
        moved = bool(self.late)
        while self.late:
            self._make(self.late[0])
        for payment in self.payments:
            payment["plan"] = []
            if payment["status"] in {"processed", "guaranteed", *WORDS}:
                self.sandbox.set_status(payment, "delivered")
                moved = True
            elif payment["status"] == "initiated":
                self.sandbox.set_status(payment, "cancelled")
                moved = True
        for refund in self.refunds:
            refund["plan"] = []
            if refund["status"] == "returned":
                self.sandbox.set_refund_status(refund, "received")
                moved = True
            elif refund["status"] not in {"finished", "cancelled"}:
                self.sandbox.set_refund_status(refund, "finished")
                moved = True
        return moved
