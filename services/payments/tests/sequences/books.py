"""What must hold of an order's money at rest, whatever happened to it: from the design, not from the code."""

from collections import Counter
from itertools import pairwise

from sqlalchemy import select, text

from payments.tables import (
    CheckoutAttempt,
    Dispute,
    Order,
    OrderLine,
    Payment,
    Refund,
    UnmatchedPayment,
)
from shared.events.payments import (
    DisputeClosed,
    PaymentConfirmed,
    PaymentFailed,
    PaymentRestored,
    PaymentReversed,
    RefundCompleted,
    RefundFailed,
)
from shared.messaging.tables import Letter, SetAside

FUNDED = {"processed", "guaranteed", "delivered"}
DEAD = {"initiated", "cancelled", "failed", "reversed"}
ODD_WORD = "archived"
"""What the provider calls in some lives what has ended well."""
FRESH = {"populate_existing": True}


class Violation(AssertionError):
    """Something that must hold does not."""


def must(holds, what, *told):
    if not holds:
        raise Violation(f"{what}: {told}")


class Books:
    """Ours and the provider's, at rest."""

    def __init__(self, life):
        self.life, self.shop, self.session = life, life.shop, life.shop.session
        self.payments = {one["payment_id"]: one for one in self.shop.sandbox.books.all("payment")}
        self.made = list(self.shop.sandbox.books.all("refund"))
        self.finished = [one for one in self.made if one["status"] == "finished"]

    async def read(self):
        async def rows(table):
            return (await self.session.scalars(select(table).execution_options(**FRESH))).all()

        self.refunds = {one.refund_id: one for one in await rows(Refund)}
        self.lines = {one.order_line_id: one for one in await rows(OrderLine)}
        self.ours = {one.reference: one for one in await rows(Payment)}
        self.attempts, self.parked = await rows(CheckoutAttempt), await rows(UnmatchedPayment)
        self.taken = {one.payment_id for one in await rows(Dispute) if one.outcome == "lost"}
        # A sum that changed after we had used it is for finance to see, not for the books; what is only held for being
        # too little may be another sum.
        self.agreed = {
            reference: amount
            for reference, amount in self.life.agreed.items()
            if (self.ours[reference].use, self.ours[reference].amount_minor)
            != ("underpaid", self.payments[reference]["amount_to"])
        }
        self.order, self.shown = (await rows(Order))[0], await self.shop.read(self.life.order)
        self.letters = Counter((one.kind, one.about.partition(" ")[0]) for one in await rows(Letter))
        self.events = await self.shop.told(
            DisputeClosed,
            PaymentConfirmed,
            PaymentFailed,
            PaymentRestored,
            PaymentReversed,
            RefundCompleted,
            RefundFailed,
        )

    def told(self, kind, **about):
        return [
            one
            for one in self.events
            if isinstance(one, kind) and all(getattr(one, name) == value for name, value in about.items())
        ]

    def stands(self, payment):
        """Whether this money is with us or the provider: paid out, and not taken by a bank."""
        ours = self.ours.get(payment["payment_id"])
        return payment["status"] == "delivered" and (ours is None or ours.payment_id not in self.taken)

    async def hold(self):
        await self.read()
        await self.our_ledger_is_the_providers_books()
        self.nothing_goes_back_twice()
        self.nothing_is_stuck(await self.session.scalars(select(SetAside)))
        self.the_order_follows_from_its_payments()
        self.what_the_bank_took_stays_lost()
        self.what_was_told_of_payments_happened()
        self.what_was_told_of_refunds_happened()
        await self.what_is_shown_is_true()

    async def our_ledger_is_the_providers_books(self):
        wanted = Counter()
        for payment in self.payments.values():
            if self.stands(payment):
                wanted[payment["currency_to"]] += self.agreed.get(payment["payment_id"], payment["amount_to"])
        gone = Counter()
        for refund in self.finished:
            wanted[refund["currency"]] -= refund["amount"]
            if not self.stands(self.payments[refund["payment_id"]]):
                gone[refund["currency"]] += refund["amount"]
        held = {
            (account, currency): amount
            for account, currency, amount in await self.session.execute(
                text(
                    "select account, currency, sum(amount_minor)::bigint from ledger_entries join ledger_postings "
                    "using (posting_no) group by account, currency having sum(amount_minor) <> 0"
                )
            )
        }

        def of(account):
            return {currency: amount for (name, currency), amount in held.items() if name == account}

        must(of("cash") == {c: a for c, a in wanted.items() if a}, "cash is not what the provider says", held, wanted)
        for account in ("provider_receivable", "refund_liability", "unapplied"):
            must(not of(account), f"{account} is open at rest", held)
        must(of("losses") == dict(gone), "losses are not what was paid out of money that is gone", held, gone)
        must(not gone or any(one.reason == "paid_out_too_much" for one in self.parked), "finance was not shown a loss")
        kept = sum(line.due_minor for line in self.kept_lines())
        must(-held.get(("sales", "GBP"), 0) == kept, "sales are not the lines that were kept", held, kept)
        for reference in self.agreed:
            shown = [
                one.order_id for one in self.parked if (one.reference, one.reason) == (reference, "amount_changed")
            ]
            must(shown, "finance was not shown that an amount changed", reference)

    def confirming(self):
        """The payment that pays the order: the first, the one that came in its place, or that one come back."""
        told = self.told((PaymentConfirmed, PaymentRestored))
        return next(ref for ref, one in self.ours.items() if one.payment_id == told[-1].payment_id) if told else None

    def kept_lines(self):
        """The lines that are paid for and were not given back."""
        confirming = self.confirming()
        if confirming is None or not self.stands(self.payments[confirming]):
            return []
        paying = self.ours[confirming].payment_id
        back = {
            one.order_line_id for one in self.refunds.values() if one.status != "cancelled" or one.payment_id != paying
        }
        return [line for line in self.lines.values() if line.order_line_id not in back]

    def nothing_goes_back_twice(self):
        paid_out, by_payment = Counter(), Counter()
        for refund in self.finished:
            paid_out[refund["external_reference"]] += refund["amount"]
            by_payment[refund["payment_id"]] += refund["amount"]
        for refund in self.refunds.values():
            must(paid_out[str(refund.refund_id)] <= refund.amount_minor, "paid out twice", refund.refund_id)
        for line in self.lines.values():
            of_line = [one for one in self.refunds.values() if one.order_line_id == line.order_line_id]
            must(sum(paid_out[str(one.refund_id)] for one in of_line) <= line.due_minor, "paid out twice", line.title)
        for reference, amount in by_payment.items():
            must(amount <= self.payments[reference]["amount_to"], "paid out twice", reference)

    def nothing_is_stuck(self, aside):
        now = self.shop.clock()
        must(not (rows := [(one.job, one.last_error) for one in aside]), "stuck: rows are set aside", rows)
        open_ = {one.status for one in self.refunds.values()} - {"completed", "cancelled"}
        must(not open_, "stuck: refunds are open at rest", open_)
        for row in (*self.ours.values(), *self.refunds.values(), *self.attempts):
            for name in ("ask_at", "close_at"):
                due = getattr(row, name, None)
                must(due is None or due > now, f"stuck: due and not handled: {type(row).__name__}.{name}", due)
        for refund in self.refunds.values():
            if refund.status == "cancelled":  # of money that is gone alone
                payment = next(one for one in self.ours.values() if one.payment_id == refund.payment_id)
                must(not self.stands(self.payments[payment.reference]), "stuck: money stands, its refund is cancelled")

    def the_order_follows_from_its_payments(self):
        status, confirming = self.shown["status"], self.confirming()
        must(len(self.told(PaymentConfirmed)) == (self.order.paid_at is not None), "told twice: confirmed")
        if confirming is None:
            must(status in {"expired", "cancelled"}, "the status of an order that nothing paid", status)
        elif not self.stands(self.payments[confirming]):
            must(status == "reversed", "the status of an order whose money is gone", status)
        else:
            back = {
                one.order_line_id for one in self.refunds.values() if one.order_line_id and one.status == "completed"
            }
            wanted = "paid" if not back else "refunded" if len(back) == len(self.lines) else "partly_refunded"
            must(status == wanted, "the status of a paid order", status, wanted)

    def what_the_bank_took_stays_lost(self):
        for index, event in enumerate(self.events):
            if isinstance(event, DisputeClosed) and event.outcome == "lost":
                later = [one for one in self.events[index:] if isinstance(one, PaymentRestored)]
                must(not [one for one in later if one.payment_id == event.payment_id], "the bank took it; restored")

    def what_was_told_of_payments_happened(self):
        for reference, payment in self.ours.items():
            statuses = [status for status, _ in self.life.provider.history[reference]]
            known = [status for status in statuses if status in FUNDED | DEAD]
            died = sum(status in {"cancelled", "failed"} for status in statuses)
            lost = sum(a in FUNDED and b in DEAD for a, b in pairwise(known))
            lost += payment.payment_id in self.taken
            failed = self.told(PaymentFailed, payment_id=payment.payment_id)
            must(len(failed) <= died, "told what did not happen: a payment failed", statuses)
            gone = len(self.told(PaymentReversed, payment_id=payment.payment_id))
            back = len(self.told(PaymentRestored, payment_id=payment.payment_id))
            if not self.told(PaymentConfirmed, payment_id=payment.payment_id):
                back -= payment.use == "order"  # the first time it came in the place of another one
            must(gone <= lost, "told what did not happen: a payment was lost", statuses)
            letters = self.letters["payment_reversed", str(payment.payment_id)]
            must(letters == gone, "the payer was not told what was announced: reversed", letters, gone)
            if payment.use == "order":
                must(gone - back == (not self.stands(self.payments[reference])), "told last: lost or not", gone, back)

    def what_was_told_of_refunds_happened(self):
        for refund in self.refunds.values():
            made = [one["refund_id"] for one in self.made if one["external_reference"] == str(refund.refund_id)]
            statuses = Counter(status for id_ in made for status, _ in self.life.provider.history[id_])
            completed = self.told(RefundCompleted, refund_id=refund.refund_id)
            failed = self.told(RefundFailed, refund_id=refund.refund_id)
            refused = self.life.provider.refused[str(refund.refund_id)]
            must(len(completed) <= statuses["finished"], "told what did not happen: paid back", statuses)
            must(len(failed) <= statuses["cancelled"] + refused, "told what did not happen: a refund failed", statuses)
            delays = self.letters["refund_delayed", str(refund.refund_id)]
            tried_again = sum(
                pair == ("finished", "received")
                for id_ in made
                for pair in pairwise(status for status, _ in self.life.provider.history[id_] if status != ODD_WORD)
            )
            most = statuses["cancelled"] + statuses["returned"] + tried_again + refused
            must(delays <= most, "told what did not happen: a refund is delayed", delays, statuses)
            if refund.status == "completed":
                must(completed, "not told: paid back", statuses)
                letters = self.letters["refund_finished", str(refund.refund_id)]
                must(letters == len(completed), "the payer was not told: paid back", letters, len(completed))
                last = self.told((RefundCompleted, RefundFailed), refund_id=refund.refund_id)[-1]
                must(isinstance(last, RefundCompleted), "told last: a refund that was paid has failed")

    async def what_is_shown_is_true(self):
        for one in self.shown["payments"]:
            payment = self.payments[one["reference"]]
            wanted = (
                {"paid_out"}
                if self.stands(payment)
                else {"lost"}
                if payment["status"] == "delivered"
                else {"lost", "declined"}
            )
            must(one["status"] in wanted or not payment["amount_to"], "shown otherwise than it is", one, payment)
        if self.order.paid_at is None:
            return
        async with self.shop.learner() as client:
            receipt = (await client.get(f"/v1/orders/{self.order.order_id}/receipt")).json()
        paying = self.ours[self.confirming()].payment_id
        of_lines = {
            str(one.refund_id) for one in self.refunds.values() if one.order_line_id and one.payment_id == paying
        }
        back = sum(one["amount"] for one in self.finished if one["external_reference"] in of_lines)
        must(receipt["refunded"]["amount_minor"] == back, "the receipt is wrong: refunded", receipt, back)
        if all(one.payment_id == paying for one in self.refunds.values() if one.order_line_id):
            must(receipt["status"] == self.shown["status"], "the receipt is wrong: status", receipt["status"])
