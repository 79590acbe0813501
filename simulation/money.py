"""Invariants of money: our books agree with the provider's, and all have what they paid for or their money back."""

import json
from collections import Counter
from typing import Any, Final
from uuid import UUID

from simulation.looking import Look, Row
from simulation.provider import FUNDED
from simulation.reporting import Broken


async def _stands(look: Look, payment: Row) -> bool:
    """Whether a payment in the provider's books is money we have: paid out, and not taken back by a bank."""
    if payment["status"] != "delivered":
        return False
    ours = (await look.by("payments", "payments", "reference")).get(payment["payment_id"])
    return ours is None or ours["payment_id"] not in await _taken(look)


async def _taken(look: Look) -> set[Any]:  # Any: ids
    """Return the payments whose money a bank has: it took it, and has not given it back since."""
    closed = [row for row in await look.rows("payments", "disputes") if row["closed_at"] is not None]
    last = {row["payment_id"]: row["outcome"] for row in sorted(closed, key=lambda row: row["closed_at"])}
    return {payment_id for payment_id, outcome in last.items() if outcome == "lost"}


async def _changed(look: Look) -> dict[str, int]:
    """Return the amounts booked for payments whose amount changed after their money was used, by reference.

    They are shown to finance, and the books keep the amount that was used.
    """
    shown = {
        row["payment_id"]: row["amount_minor"]
        for row in await look.rows("payments", "unmatched_payments")
        if row["reason"] == "amount_changed" and row["ended_at"] is None
    }
    return {
        row["reference"]: row["amount_minor"]
        for row in await look.rows("payments", "payments")
        if row["payment_id"] in shown and look.payments[row["reference"]]["amount_to"] == shown[row["payment_id"]]
    }


async def our_ledger_is_the_providers_books(look: Look) -> None:
    """I1, both ways: cash is what was paid out to us minus what was refunded; no account is open at rest."""
    wanted: Counter[str] = Counter()
    for payment in look.payments.values():
        if await _stands(look, payment):
            booked = (await _changed(look)).get(payment["payment_id"])
            wanted[payment["currency_to"]] += payment["amount_to"] if booked is None else booked
    not_ours = {row["reference"] for row in await look.rows("payments", "unmatched_payments") if row["not_ours"]}
    for refund in look.refunds:
        if refund["status"] == "finished" and refund["refund_id"] not in not_ours:
            wanted[refund["currency"]] -= refund["amount"]
    held = await look.ask(
        "payments",
        "select account, currency, sum(amount_minor)::bigint as amount from ledger_entries "
        "join ledger_postings using (posting_no) group by account, currency having sum(amount_minor) <> 0",
    )
    cash = {row["currency"]: row["amount"] for row in held if row["account"] == "cash"}
    if cash != {currency: amount for currency, amount in wanted.items() if amount}:
        raise Broken("cash is not what the provider says", (cash, dict(wanted)))
    open_ = [row for row in held if row["account"] in {"provider_receivable", "refund_liability", "unapplied"}]
    if open_:
        raise Broken("an account is open at rest", open_)


async def _refund_of_ours(look: Look, refund: Row) -> str | None:
    """Return which refund of ours this one at the provider is; None of one by hand that finance says is none."""
    if refund["refund_id"] not in look.platform.provider.by_hand:
        return refund["external_reference"]
    kept = (await look.by("payments", "provider_refunds", "provider_refund_id")).get(refund["refund_id"])
    return None if kept is None else str(kept["refund_id"])


async def nothing_goes_back_twice(look: Look) -> None:
    """I8: no refund, payment or order line pays back more than its own amount."""
    ours = {str(row["refund_id"]): row for row in await look.rows("payments", "refunds")}
    paid: Counter[str] = Counter()
    of_payment: Counter[str] = Counter()
    lines: Counter[Any] = Counter()
    for refund in look.refunds:
        if refund["status"] == "finished":
            of_payment[refund["payment_id"]] += refund["amount"]
            if id_ := await _refund_of_ours(look, refund):
                paid[id_] += refund["amount"]
            elif await _stands(look, look.payments[refund["payment_id"]]):
                lines[UUID(look.platform.provider.by_hand[refund["refund_id"]])] += refund["amount"]
    for id_, amount in paid.items():
        if id_ not in ours or amount > ours[id_]["amount_minor"]:
            raise Broken("paid back twice", (id_, amount))
    for reference, amount in of_payment.items():
        if amount > look.payments[reference]["amount_to"]:
            raise Broken("more goes back than came", (reference, amount))
    for id_, amount in paid.items():
        if ours[id_]["order_line_id"]:
            lines[ours[id_]["order_line_id"]] += amount
    due = await look.by("payments", "order_lines", "order_line_id")
    for line, amount in lines.items():
        if amount > due[line]["due_minor"]:
            raise Broken("a line goes back twice", (line, amount))


async def no_refund_is_stuck(look: Look) -> None:
    """I11: every refund is completed, or cancelled because its payment's money is gone."""
    payments = await look.by("payments", "payments", "payment_id")
    for refund in await look.rows("payments", "refunds"):
        if refund["status"] not in {"completed", "cancelled"}:
            raise Broken("a refund is open at rest", refund)
        payment = look.payments[payments[refund["payment_id"]]["reference"]]
        unpaid = refund["reason_code"] == "not_paid_for"  # by this payment, which paid the order again without the line
        if refund["status"] == "cancelled" and not unpaid and await _stands(look, payment):
            raise Broken("money stands and its refund is cancelled", refund)


async def an_order_is_what_its_payments_say(look: Look) -> None:
    """I1: an order's status follows from its payments; a paid line is one enrolment, or refunded."""
    confirmations = await look.by("payments", "order_confirmations", "order_id")
    payments = await look.by("payments", "payments", "payment_id")
    refunds = await look.groups("payments", "refunds", "order_line_id")
    lines = await look.groups("payments", "order_lines", "order_id")
    enrolled = await look.by("enrolment", "enrolments", "order_line_id")
    for order in await look.rows("payments", "orders"):
        confirmed = confirmations.get(order["order_id"])
        if confirmed is None:
            if order["status"] not in {"expired", "cancelled"}:
                raise Broken("an order that nothing paid is open at rest", order)
            continue
        payment = look.payments[payments[confirmed["payment_id"]]["reference"]]
        stands = await _stands(look, payment)
        if order["status"] != ("paid" if stands else "reversed"):
            raise Broken("an order's status", (order["status"], payment["status"], stands))
        for line in lines[order["order_id"]]:
            back = [one for one in refunds[line["order_line_id"]] if one["status"] == "completed"]
            has = line["order_line_id"] in enrolled
            if stands and not has and not back:
                raise Broken("a paid line is neither enrolled nor refunded", line)


async def the_provider_was_believed(look: Look) -> None:
    """Our state of a payment is the provider's, unless a bank took the money back."""
    lost = await _taken(look)
    for payment in await look.rows("payments", "payments"):
        there = look.payments[payment["reference"]]
        changed = payment["reference"] in await _changed(look)
        if not changed and (payment["amount_minor"], payment["currency"]) != (there["amount_to"], there["currency_to"]):
            amounts = (payment["amount_minor"], payment["currency"], there["amount_to"], there["currency_to"])
            raise Broken("an amount differs", (payment["reference"], *amounts))
        taken = payment["payment_id"] in lost
        if (payment["state"] in {"confirmed", "settled"}) != (there["status"] in FUNDED and not taken):
            raise Broken("a payment's state differs", (payment["state"], there["status"]))
    ours = {row["reference"] for row in await look.rows("payments", "payments")}
    dead_letters = {row["reference"] for row in await look.rows("payments", "unmatched_payments")}
    for reference, payment in look.payments.items():
        if payment["status"] in FUNDED and reference not in ours | dead_letters:
            raise Broken("money came that nobody here knows of", payment)


async def what_was_announced_of_money_happened(look: Look) -> None:
    """No event is repeated: one confirmation for each order, one completion for each time a refund was finished."""
    announced: Counter[tuple[str, str]] = Counter()
    for row in await look.ask("payments", "select type, body from outbox"):
        data = json.loads(row["body"])["data"]
        if row["type"] == "payments.payment.confirmed.v1":
            announced["confirmed", data["order_id"]] += 1
        if row["type"] == "payments.refund.completed.v1":
            announced["completed", data["refund_id"]] += 1
    for (what, id_), times in announced.items():
        if what == "confirmed" and times > 1:
            raise Broken("an order was confirmed twice", id_)
        if what == "completed":
            made = [one["refund_id"] for one in look.refunds if await _refund_of_ours(look, one) == id_]
            finished = sum(look.platform.provider.history[one].count("finished") for one in made)
            if times > finished:
                raise Broken("a refund was announced as paid more often than it was", (id_, times, finished))


async def what_finance_gave_back_has_ended(look: Look) -> None:
    """Nobody has a course that finance gave back, be it while its money was lost."""
    enrolled = await look.by("enrolment", "enrolments", "order_line_id")
    for line in look.platform.model.get("given back", {}):
        enrolment = enrolled.get(UUID(line))
        if enrolment is not None and enrolment["status"] in {"active", "suspended"}:
            raise Broken("a course that finance gave back is open", enrolment)


async def nothing_is_kept_for_what_finance_gave_back(look: Look) -> None:
    """Of an order's money no more is kept than its other courses cost: none moves while it is lost, and what comes then
    goes back."""
    given = look.platform.model.get("given back", {})
    kept: Counter[Any] = Counter()
    for payment in await look.rows("payments", "payments"):
        there = look.payments[payment["reference"]]
        if await _stands(look, there) and there["currency_to"] == payment["currency"]:
            kept[payment["order_id"]] += payment["amount_minor"] - _paid_back(look, payment["reference"])
    for order, lines in (await look.groups("payments", "order_lines", "order_id")).items():
        others = [line["due_minor"] for line in lines if str(line["order_line_id"]) not in given]
        if len(others) < len(lines) and kept[order] > sum(others):
            raise Broken("money is kept for a course that finance gave back", (order, kept[order]))


def _paid_back(look: Look, payment: str) -> int:
    return sum(one["amount"] for one in look.refunds if one["payment_id"] == payment and one["status"] == "finished")


ALL: Final = (
    our_ledger_is_the_providers_books,
    nothing_goes_back_twice,
    no_refund_is_stuck,
    an_order_is_what_its_payments_say,
    the_provider_was_believed,
    what_was_announced_of_money_happened,
    what_finance_gave_back_has_ended,
    nothing_is_kept_for_what_finance_gave_back,
)
