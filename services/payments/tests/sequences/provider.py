"""The provider of one life: what becomes of payments and refunds there, and how badly it answers."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx

from embedded.provider.shapes import NotPossible
from payments.adapters import flywire
from payments.adapters.flywire_shapes import payment_status, refund_status
from payments.domain.payments import PaymentFact
from payments.domain.refunds import RefundFact

from .books import ODD_WORD, must

MOVES = {
    "initiated": {"processed": 3, "guaranteed": 3, "cancelled": 2, "failed": 1, "word": 2},
    "word": {"processed": 2, "guaranteed": 2, "cancelled": 1},
    "processed": {"guaranteed": 3, "delivered": 2, "cancelled": 3, "word": 2},
    "guaranteed": {"delivered": 4, "reversed": 2, "word": 2},
    "delivered": {"reversed": 1, ODD_WORD: 1},
    ODD_WORD: {"delivered": 2, "reversed": 1},
    "cancelled": {"initiated": 2, "processed": 3},  # documented: late money revives it
    "reversed": {},
    "failed": {},
}
"""What a payment may become at the provider, and how likely."""
REFUND_MOVES = {
    "initiated": {"received": 4, "cancelled": 2, "word": 4},
    "word": {"received": 2, "cancelled": 1},
    "received": {"finished": 4, "returned": 2},
    "finished": {"returned": 2, ODD_WORD: 2, "received": 1},  # documented: it is tried again
    ODD_WORD: {"finished": 2, "returned": 2},
    "returned": {"received": 4},
    "cancelled": {},
}
WORDS = ("charged", "on hold", "pending")
UNSAID = frozenset({"reversed", "returned"})
"""What undoes an end nobody would ask about: the provider reports it again until it is answered."""
ANOTHER = "FWU000000001"
"""A payment of somebody else's."""
LAG = timedelta(minutes=40)
"""No copy of the provider's lags behind for longer."""
TILL = 4
"""So many calls a minute to the provider, where they are counted."""


def garbled():
    """An answer in another shape."""
    return flywire._read(flywire.Payment, httpx.Response(200, content=b'{"payment_id": null}'))


def since_revival(announced):
    """From the last time on that it was cancelled: what a copy tells of before nothing tells from what comes after."""
    cancelled = [n for n, (status, _) in enumerate(announced) if status == "cancelled"]
    return announced[cancelled[-1] :] if cancelled else announced


PLACES = ("payments", "refunds", "fetch_payment", "fetch_refund", "refunds_of", "create_refund")
"""Where the provider names our reference: its callbacks about either, and its answers."""


@dataclass
class ByHand:
    """A refund that somebody made in the provider's dashboard, of a refund of ours or of a line that has none."""

    payment_id: UUID
    line_id: UUID | None
    refund_id: UUID | None


class Provider:
    """As bad as this life has it."""

    def __init__(self, driver, chance, odd, troubles):
        self.driver, self.chance, self.odd, self.troubles = driver, chance, odd, troubles
        self.create_by_hand: Any = None
        self.null = {place for place in PLACES if odd.random() < 0.6} if "nulls" in troubles else set()
        """Where our reference is left out."""
        self.history = defaultdict(list)
        """Reference -> status and instant, the oldest first."""
        self.refused = Counter()
        """Our reference -> how often this refund was refused."""
        self.method_left_out = False
        """In callbacks about payments."""
        self.disputed: dict[str, str] = {}
        """Dispute -> the payment that a bank is asked about."""
        self.by_hand: dict[str, ByHand] = {}
        """What was paid back in the provider's dashboard, by its reference there."""
        self.sick: set[str] = set()
        """Of these nothing that can be read is answered."""

    def attend(self, patch):
        """Write down what happens at the provider, and let it answer as badly as this life has it."""
        sandbox, provider = self.driver.sandbox, self.driver.provider
        set_status, set_refund, create = sandbox.set_status, sandbox.set_refund_status, sandbox.create_refund

        def payment_moves(payment, status, **more):
            set_status(payment, status, **more)
            self.history[payment["payment_id"]].append((status, self.driver.clock()))

        def refund_moves(refund, status):
            set_refund(refund, status)
            self.history[refund["refund_id"]].append((status, self.driver.clock()))

        def refund_is_made(reference, amount, external, url):
            must(reference not in self.disputed.values(), "paid back what a bank may take", reference)
            try:
                return create(reference, amount, external, url)
            except NotPossible:
                alive = [one["status"] for one in sandbox.refunds(reference) if one["external_reference"] == external]
                self.refused[external] += not set(alive) - {"cancelled"}
                raise

        self.create_by_hand = create
        patch.setattr(sandbox, "set_status", payment_moves)
        patch.setattr(sandbox, "set_refund_status", refund_moves)
        patch.setattr(sandbox, "create_refund", refund_is_made)
        patch.setattr(provider, "fetch_payment", self.answering(provider.fetch_payment))
        patch.setattr(provider, "fetch_refund", self.answering(provider.fetch_refund))
        for name in self.null & {"refunds_of", "create_refund"}:
            patch.setattr(provider, name, self.unnamed(getattr(provider, name)))
        patch.setattr(sandbox, "_call_back", self.calling_back(sandbox._call_back))
        if "sick" in self.troubles:
            patch.setattr(provider, "create_refund", self.garbling(provider.create_refund))
        if "narrow" in self.troubles:
            self.count_calls(patch)

    def unnamed(self, ask):
        async def answer(*arguments):
            said = await ask(*arguments)
            if isinstance(said, Sequence):
                return [replace(one, our_reference="") for one in said]
            return said and replace(said, our_reference="")

        return answer

    def calling_back(self, call_back):
        def announced(url, event_type, resource, at, data):
            left_out = {"external_reference": None} if resource in self.null else {}
            left_out |= {"payment_method": None} if self.method_left_out and resource == "payments" else {}
            call_back(url, event_type, resource, at, data | left_out)

        return announced

    def garbling(self, ask):
        async def answer(*arguments):
            said = await ask(*arguments)
            return garbled() if self.chance.random() < 0.3 else said

        return answer

    def answering(self, ask):
        async def answer(reference):
            if reference in self.sick:
                return garbled()
            fact = await ask(reference)
            if ("fetch_payment" if isinstance(fact, PaymentFact) else "fetch_refund") in self.null:
                fact = replace(fact, our_reference="")
            if "others" in self.troubles and isinstance(fact, RefundFact) and self.odd.random() < 0.1:
                return replace(fact, payment_reference=ANOTHER)
            if "lag" not in self.troubles or self.chance.random() < 0.2:
                return fact
            announced, oldest = since_revival(self.history[reference]), self.driver.clock() - LAG
            replaced = [status for (status, _), (_, at) in pairwise(announced) if at > oldest]  # less than that ago
            word = self.chance.choice([*replaced, announced[-1][0]])
            meaning = payment_status if isinstance(fact, PaymentFact) else refund_status
            return replace(fact, status=meaning(word), word=word)

        return answer

    def count_calls(self, patch):
        """So many calls a minute; who waits for a call waits by our clock."""
        clock = self.driver.clock

        def monotonic():
            return clock.at.timestamp()

        async def sleep(seconds):
            clock.advance(seconds=max(seconds, 0.001))

        account = replace(self.driver.provider._account, calls_per_minute=TILL)
        patch.setattr(self.driver.provider, "_account", account)
        patch.setattr(flywire, "monotonic", monotonic)
        patch.setattr(flywire, "asyncio", SimpleNamespace(**vars(asyncio) | {"sleep": sleep}))
        self.driver.provider._called.clear()

    async def move_payment(self):
        payments = [one for one in self.driver.sandbox.books.all("payment") if self.moves_of(one, MOVES)]
        if payments:
            payment = self.chance.choice(payments)
            status = self.next_of(payment, MOVES)
            back = payment["status"] == "cancelled"  # in one instant there are steps forward alone
            self.driver.clock.advance(seconds=self.chance.choice([0, 0, 1, 30]) + back)
            self.driver.sandbox.set_status(payment, status)

    async def move_refund(self):
        for _ in range(self.chance.choice([1, 1, 2])):
            refunds = [one for one in self.driver.sandbox.books.all("refund") if self.moves_of(one, REFUND_MOVES)]
            if not refunds:
                return
            refund = self.chance.choice(refunds)
            refund["plan"] = []
            self.driver.clock.advance(seconds=self.chance.choice([0, 0, 1, 30]))
            self.driver.sandbox.set_refund_status(refund, self.next_of(refund, REFUND_MOVES))

    def moves_of(self, record, moves):
        without = {"word", "reverse", "return"} - self.troubles
        barred = {{"reverse": "reversed", "return": "returned"}.get(one, one) for one in without}
        if "odd_words" not in self.troubles:
            barred |= {ODD_WORD} | ({"received"} if record["status"] == "finished" else set())
        if "reverse" in without:
            barred |= {"cancelled"} if record["status"] == "processed" else set()
        options = moves.get(record["status"], moves["word"])
        return {status: weight for status, weight in options.items() if status not in barred}

    def next_of(self, record, moves):
        options = self.moves_of(record, moves)
        chosen = self.chance.choices(list(options), list(options.values()))[0]
        return self.chance.choice(WORDS) if chosen == "word" else chosen

    def take(self):
        held = list(self.driver.sandbox.books.all("delivery"))
        for one in held:
            self.driver.sandbox.books.remove("delivery", one["id"])
        return [one["body"].encode() for one in held]

    def end(self):
        sandbox = self.driver.sandbox
        for payment in sandbox.books.all("payment"):
            if payment["status"] in {"processed", "guaranteed", ODD_WORD, *WORDS}:
                sandbox.set_status(payment, "delivered")
            elif payment["status"] == "initiated":
                sandbox.set_status(payment, "cancelled")
        for refund in sandbox.books.all("refund"):
            refund["plan"] = []
            if refund["status"] == "returned":
                sandbox.set_refund_status(refund, "received")
            elif refund["status"] not in {"finished", "cancelled"}:
                sandbox.set_refund_status(refund, "finished")
