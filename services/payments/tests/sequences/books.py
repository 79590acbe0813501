"""What must hold of orders' money at rest, whatever happened to it: from the design, not from the code."""

from collections import Counter
from itertools import pairwise

from sqlalchemy import select, text

from payments.tables import (
    CheckoutAttempt,
    Order,
    OrderLine,
    Payment,
    ProviderRefund,
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
    RefundRequested,
)
from shared.messaging.tables import QueuedEmail, SetAside

FUNDED = {"processed", "guaranteed", "delivered"}
DEAD = {"initiated", "cancelled", "failed", "reversed"}
ODD_WORD = "archived"
"""What the provider calls in some lives what has ended well."""
FRESH = {"populate_existing": True}


class Violation(AssertionError):
    """Something that must hold does not."""


def must(holds, what, *announced):
    if not holds:
        raise Violation(f"{what}: {announced}")


class Books:
    """Ours and the provider's, at rest."""

    def __init__(self, life):
        self.life, self.driver, self.session = life, life.driver, life.driver.session
        self.payments = {one["payment_id"]: one for one in self.driver.sandbox.books.all("payment")}

    async def read(self):
        async def rows(table):
            return (await self.session.scalars(select(table).execution_options(**FRESH))).all()

        self.refunds = {one.refund_id: one for one in await rows(Refund)}
        self.taken_in = {one.provider_refund_id: str(one.refund_id) for one in await rows(ProviderRefund)}
        hand = self.life.provider.by_hand
        self.made = [
            {**one, "external_reference": self.taken_in.get(one["refund_id"], "")} if one["refund_id"] in hand else one
            for one in self.driver.sandbox.books.all("refund")
        ]
        self.finished = [one for one in self.made if one["status"] == "finished"]
        self.lines = {one.order_line_id: one for one in await rows(OrderLine)}
        self.ours = {one.reference: one for one in await rows(Payment)}
        self.attempts = await rows(CheckoutAttempt)
        self.unmatched = [one for one in await rows(UnmatchedPayment) if one.ended_at is None]
        self.taken = {self.ours[reference].payment_id for reference in self.life.taken}
        # A sum that changed after we had used it is for finance to see, not for the books; what is only held for being
        # too little may be another sum.
        self.agreed = {
            reference: amount
            for reference, amount in self.life.agreed.items()
            if (self.ours[reference].use, self.ours[reference].amount_minor)
            != ("underpaid", self.payments[reference]["amount_to"])
        }
        self.orders = {order: await self.driver.read({"order_id": order.order_id}) for order in await rows(Order)}
        # A refund that is held back is delayed without a word of the provider's; of that there is another test.
        emails = [one for one in await rows(QueuedEmail) if " since " not in one.about]
        self.emails = Counter((one.kind, one.about.partition(" ")[0]) for one in emails)
        self.events = await self.driver.announced(
            DisputeClosed,
            PaymentConfirmed,
            PaymentFailed,
            PaymentRestored,
            PaymentReversed,
            RefundCompleted,
            RefundFailed,
            RefundRequested,
        )

    def announced(self, kind, **about):
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
        for order, shown in self.orders.items():
            self.the_order_follows_from_its_payments(order, shown)
        self.what_the_bank_took_stays_lost_until_it_gives_it_back()
        self.what_was_announced_of_payments_happened()
        self.what_was_announced_of_refunds_happened()
        for order, shown in self.orders.items():
            await self.what_is_shown_is_true(order, shown)
        self.no_course_is_sold_twice()
        self.finance_is_shown_what_is_so()
        for order in self.orders:
            self.access_follows_the_money(order)

    def access_follows_the_money(self, order):
        """As far as others hear of it."""
        confirmed = self.announced(PaymentConfirmed, order_id=order.order_id)
        opened = {line.order_line_id for one in confirmed for line in one.lines} - self.life.never_opened
        words = self.announced((PaymentConfirmed, PaymentRestored, PaymentReversed), order_id=order.order_id)
        lost = bool(words) and isinstance(words[-1], PaymentReversed)
        back = {one.order_line_id for one in self.announced(RefundRequested, order_id=order.order_id)}
        kept = {line.order_line_id for line in self.kept_lines(order)}
        ended = self.life.ended_lines
        has_access = set() if lost else opened - back - ended
        must(has_access == kept - ended - self.life.never_opened, "access does not follow the money", has_access, kept)

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
        shown = any(one.reason == "paid_out_too_much" for one in self.unmatched)
        must(shown == bool(gone), "finance is shown a loss", shown, gone)
        kept = sum(line.due_minor for order in self.orders for line in self.kept_lines(order))
        must(-held.get(("sales", "GBP"), 0) == kept, "sales are not the lines that were kept", held, kept)
        for reference in self.agreed:
            shown = [
                one.order_id for one in self.unmatched if (one.reference, one.reason) == (reference, "amount_changed")
            ]
            must(shown, "finance was not shown that an amount changed", reference)

    def confirming(self, order):
        """The payment that pays the order: the first, the one that came in its place, or that one come back."""
        announced = self.announced((PaymentConfirmed, PaymentRestored), order_id=order.order_id)
        return (
            next(ref for ref, one in self.ours.items() if one.payment_id == announced[-1].payment_id)
            if announced
            else None
        )

    def lines_of(self, order):
        return [line for line in self.lines.values() if line.order_id == order.order_id]

    def kept_lines(self, order):
        """The lines that are paid for and were not given back."""
        confirming = self.confirming(order)
        if confirming is None or not self.stands(self.payments[confirming]):
            return []
        paying = self.ours[confirming].payment_id
        back = {one.order_line_id for one in self.refunds.values() if self.takes_back(one, paying)}
        return [line for line in self.lines_of(order) if line.order_line_id not in back]

    @staticmethod
    def takes_back(refund, paying):
        """Whether this payment, which pays the order, does not pay for the refund's line, or no more."""
        if refund.reason_code == "not_paid_for":
            return refund.payment_id == paying
        return refund.status != "cancelled" or refund.payment_id != paying

    def no_course_is_sold_twice(self):
        """Where money was gone for a while, enrolment sees to it."""
        if not self.announced(PaymentReversed):
            sold = Counter(line.course_id for order in self.orders for line in self.kept_lines(order))
            must(all(times == 1 for times in sold.values()), "sold twice", sold)

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
        now = self.driver.clock()
        must(not (rows := [(one.job, one.last_error) for one in aside]), "stuck: rows are set aside", rows)
        open_ = {one.status for one in self.refunds.values()} - {"completed", "cancelled"}
        must(not open_, "stuck: refunds are open at rest", open_)
        for row in (*self.ours.values(), *self.refunds.values(), *self.attempts):
            for name in ("ask_at", "close_at"):
                due = getattr(row, name, None)
                must(due is None or due > now, f"stuck: due and not handled: {type(row).__name__}.{name}", due)
        for refund in self.refunds.values():
            if refund.status == "cancelled" and refund.reason_code != "not_paid_for":  # of money that is gone alone
                payment = next(one for one in self.ours.values() if one.payment_id == refund.payment_id)
                must(not self.stands(self.payments[payment.reference]), "stuck: money stands, its refund is cancelled")

    def the_order_follows_from_its_payments(self, order, shown):
        status, confirming = shown["status"], self.confirming(order)
        confirmed = self.announced(PaymentConfirmed, order_id=order.order_id)
        must(len(confirmed) == (order.paid_at is not None), "announced twice: confirmed")
        if confirming is None:
            must(status in {"expired", "cancelled"}, "the status of an order that nothing paid", status)
        elif not self.stands(self.payments[confirming]):
            must(status == "reversed", "the status of an order whose money is gone", status)
        else:
            back = {one.order_line_id for one in self.refunds.values() if one.status == "completed"}
            given = [line.order_line_id in back for line in self.lines_of(order)]
            wanted = "refunded" if all(given) else "partly_refunded" if any(given) else "paid"
            must(status == wanted, "the status of a paid order", status, wanted)

    def what_the_bank_took_stays_lost_until_it_gives_it_back(self):
        taken = set()
        for event in self.events:
            if isinstance(event, DisputeClosed):
                (taken.add if event.outcome == "lost" else taken.discard)(event.payment_id)
            if isinstance(event, PaymentRestored):
                must(event.payment_id not in taken, "the bank took it; restored")

    def what_was_announced_of_payments_happened(self):
        for reference, payment in self.ours.items():
            statuses = [status for status, _ in self.life.provider.history[reference]]
            known = [status for status in statuses if status in FUNDED | DEAD]
            died = sum(status in {"cancelled", "failed"} for status in statuses)
            lost = sum(a in FUNDED and b in DEAD for a, b in pairwise(known))
            lost += len(self.announced(DisputeClosed, payment_id=payment.payment_id, outcome="lost"))
            failed = self.announced(PaymentFailed, payment_id=payment.payment_id)
            must(len(failed) <= died, "announced what did not happen: a payment failed", statuses)
            gone = len(self.announced(PaymentReversed, payment_id=payment.payment_id))
            back = len(self.announced(PaymentRestored, payment_id=payment.payment_id))
            if not self.announced(PaymentConfirmed, payment_id=payment.payment_id):
                back -= payment.use == "order"  # the first time it came in the place of another one
            must(gone <= lost, "announced what did not happen: a payment was lost", statuses)
            emails = self.emails["payment_reversed", str(payment.payment_id)]
            must(emails == gone, "the payer was not e-mailed what was announced: reversed", emails, gone)
            announced = self.emails["payment_restored", str(payment.payment_id)]
            announced += self.emails["payment_repaid", str(payment.payment_id)]
            restored = len(self.announced(PaymentRestored, payment_id=payment.payment_id))
            must(announced == restored, "the payer was not e-mailed what was announced: restored", announced, restored)
            if payment.use == "order":
                must(
                    gone - back == (not self.stands(self.payments[reference])),
                    "announced last: lost or not",
                    gone,
                    back,
                )

    def what_was_announced_of_refunds_happened(self):
        for refund in self.refunds.values():
            made = [one["refund_id"] for one in self.made if one["external_reference"] == str(refund.refund_id)]
            statuses = Counter(status for id_ in made for status, _ in self.life.provider.history[id_])
            completed = self.announced(RefundCompleted, refund_id=refund.refund_id)
            failed = self.announced(RefundFailed, refund_id=refund.refund_id)
            refused = self.life.provider.refused[str(refund.refund_id)]
            must(len(completed) <= statuses["finished"], "announced what did not happen: paid back", statuses)
            must(
                len(failed) <= statuses["cancelled"] + refused,
                "announced what did not happen: a refund failed",
                statuses,
            )
            delays = self.emails["refund_delayed", str(refund.refund_id)]
            tried_again = sum(
                pair == ("finished", "received")
                for id_ in made
                for pair in pairwise(status for status, _ in self.life.provider.history[id_] if status != ODD_WORD)
            )
            most = statuses["cancelled"] + statuses["returned"] + tried_again + refused
            hand = self.life.provider.by_hand  # of which one is held back, too, until they are explained
            most += sum(one.payment_id == refund.payment_id for one in hand.values())
            must(delays <= most, "announced what did not happen: a refund is delayed", delays, statuses)
            if refund.status == "completed":
                must(completed, "not announced: paid back", statuses)
                emails = self.emails["refund_finished", str(refund.refund_id)]
                must(emails == len(completed), "the payer was not e-mailed: paid back", emails, len(completed))
                last = self.announced((RefundCompleted, RefundFailed), refund_id=refund.refund_id)[-1]
                must(isinstance(last, RefundCompleted), "announced last: a refund that was paid has failed")

    def finance_is_shown_what_is_so(self):
        """What ended well has left the list, and what was paid by hand was explained."""
        for one in self.made:
            alive = one["refund_id"] in self.life.provider.by_hand and one["status"] != "cancelled"
            must(not alive or one["refund_id"] in self.taken_in, "nobody was asked what was paid by hand", one)
        for one in self.unmatched:
            payment = self.payments.get(one.reference, {"status": "", "amount_to": None})
            so = {
                "amount_changed": one.reference in self.life.agreed,
                "nothing_paid": payment["amount_to"] == 0,
                "paid_after_lost_dispute": one.reference in self.life.taken and payment["status"] == "delivered",
                "unknown_refund": "others" in self.life.troubles,
                "restored_after_loss": False,
                "unknown_reference": False,
                "unknown_status": False,
            }
            must(so.get(one.reason, True), "finance is shown what is over", one.reason, one.reference)
        for reference, ours in self.ours.items():
            named = self.payments[reference]["payment_method"]["type"]
            must(
                ours.method == named or not self.stands(self.payments[reference]), "how it was paid is not known", named
            )

    async def what_is_shown_is_true(self, order, shown):
        for one in shown["payments"]:
            payment = self.payments[one["reference"]]
            wanted = (
                {"paid_out"}
                if self.stands(payment)
                else {"lost"}
                if payment["status"] == "delivered"
                else {"lost", "declined"}
            )
            must(one["status"] in wanted or not payment["amount_to"], "shown otherwise than it is", one, payment)
        if order.paid_at is None:
            return
        async with self.driver.learner() as client:
            receipt = (await client.get(f"/v1/orders/{order.order_id}/receipt")).json()
        paying = self.ours[self.confirming(order)].payment_id
        lines = {line.order_line_id for line in self.lines_of(order)}
        of_lines = {
            str(one.refund_id)
            for one in self.refunds.values()
            if one.order_line_id in lines and one.payment_id == paying
        }
        back = sum(one["amount"] for one in self.finished if one["external_reference"] in of_lines)
        must(receipt["refunded"]["amount_minor"] == back, "the receipt is wrong: refunded", receipt, back)
        if all(one.payment_id == paying for one in self.refunds.values() if one.order_line_id in lines):
            must(receipt["status"] == shown["status"], "the receipt is wrong: status", receipt["status"])
