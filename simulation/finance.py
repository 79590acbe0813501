"""What finance does of its own accord: gives courses back, pays back in the provider's own dashboard, and says of that
afterwards what it paid."""

import random
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from simulation.looking import Look

if TYPE_CHECKING:
    from simulation.staff import Staff

_BOUGHT: Final = """
    select order_id::text, order_line_id::text, status = 'reversed' as lost
    from orders join order_lines using (order_id) where status in ('paid', 'reversed') order by order_line_id
"""
_PAID_BACK_BY_NOBODY: Final = """
    select reference, order_line_id::text, due_minor from payments
    join order_confirmations using (payment_id, order_id) join order_lines using (order_id)
    where state = 'settled'
    and amount_minor = (select sum(due_minor) from order_lines other where other.order_id = payments.order_id)
    and not exists (select from refunds where refunds.order_line_id = order_lines.order_line_id)
    and not exists (select from refunds where refunds.order_id = payments.order_id and status = 'submitting')
    order by order_line_id
"""
"""Lines a person who looks at both books may pay back by hand: nothing is asked for them, and nothing is being sent."""
REASON: Final = {"reason_code": "goodwill"}


async def give_back(staff: "Staff", chance: random.Random) -> None:
    """Give a course back, mostly one whose money is lost."""
    async with Look(staff.platform) as look:
        bought = await look.ask("payments", _BOUGHT)
    lost = [line for line in bought if line["lost"]]
    if lost or (bought and chance.random() < 0.2):
        line = chance.choice(lost or bought)
        await _grant(staff, line["order_id"], line["order_line_id"])


async def _grant(staff: "Staff", order_id: str, line_id: str) -> str | None:
    path = f"/v1/orders/{order_id}/lines/{line_id}/granted-refund"
    granted = await staff["finance"].ask("POST", path, REASON)
    if not granted.ok:
        return None
    staff.platform.remember("given back", line_id)
    return granted.body["refund_id"]


async def pay_back_by_hand(staff: "Staff", chance: random.Random) -> None:
    """Pay a line back in the provider's dashboard, without a word to the platform."""
    async with Look(staff.platform) as look:
        lines = await look.ask("payments", _PAID_BACK_BY_NOBODY)
    if lines:
        line = chance.choice(lines)
        staff.platform.provider.pay_back_by_hand(line["reference"], line["due_minor"], line["order_line_id"])


async def explain(staff: "Staff", *, at_last: bool = False) -> None:
    """Say of each refund by hand that finance is shown which refund of ours it paid; where that is refused, `at_last`
    that it paid none."""
    by_hand = staff.platform.provider.by_hand
    for one in await staff["finance"].items("/v1/unmatched-payments", open="true"):
        if one["reason"] != "unknown_refund" or one["reference"] not in by_hand:
            continue
        refund_id = await _refund_of(staff, one["order_id"], by_hand[one["reference"]])
        if (refund_id is None or not await _close(staff, one, paid=[{"refund_id": refund_id}])) and at_last:
            await _close(staff, one, not_ours=True)


async def _refund_of(staff: "Staff", order_id: str, line_id: str) -> str | None:
    """Return the refund of this line; one that is granted now where there is none."""
    order = await staff["finance"].ask("GET", f"/v1/orders/{order_id}")
    if not order.ok:
        return None
    [line] = [one for one in order.body["lines"] if one["order_line_id"] == line_id]
    return line["refund"]["refund_id"] if line["refund"] else await _grant(staff, order_id, line_id)


async def _close(staff: "Staff", one: Any, **explanation: object) -> bool:  # Any: JSON
    path = f"/v1/unmatched-payments/{one['unmatched_id']}/closure"
    answer = await staff["finance"].ask("POST", path, {"note": "By hand, see mail"} | explanation)
    if answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
        raise ValueError(f"that is not how a refund is explained: {answer.body}")
    return answer.ok
