"""Receipt numbers: each is given once, also by a database that was restored from a copy and has forgotten the last."""

import re
from datetime import timedelta
from typing import Final

from sqlalchemy import BigInteger, cast, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from payments.tables import RECEIPT_NUMBERS, Order
from shared.database import now
from shared.errors import Conflict, Malformed, Unavailable
from shared.messaging import history

_NUMBER: Final = re.compile(r"MC-(\d{4})-(\d{1,18})", re.ASCII)
MOST_LOST: Final = 1_000_000
"""The most receipts that a copy may lack: a number further on is a slip of the hand, and all later ones would be as
long."""
_A_DAY: Final = timedelta(days=1)
"""More than any time zone is ahead of UTC: so long before its end a year's receipts may be of the next one."""


class ReceiptsWait(Unavailable):
    """This database has lost history, or has just been put back and may have: the payment is confirmed once it is known
    which receipts were given."""


class BadReceiptNumber(Malformed):
    """A receipt number is `MC-<year>-<number>`."""


class ReceiptNeverGiven(Conflict):
    """The last receipt that was given is of no year to come, and no million beyond those that stand here."""


class ReceiptBeforeOurs(Conflict):
    """The last receipt that was given is no earlier one than those that stand here."""


async def draw_number(session: AsyncSession) -> int:
    """Return the next receipt number. Raises ReceiptsWait where receipts may have been given that are lost here."""
    if not await history.is_whole(session):
        raise ReceiptsWait("payments are confirmed again once it is known which receipts were given")
    return await session.scalar(select(RECEIPT_NUMBERS.next_value())) or 0


async def go_on_after(session: AsyncSession, receipt: str) -> None:
    """Continue the receipt numbers after this receipt, and after any that was drawn here.

    Raises BadReceiptNumber, ReceiptBeforeOurs or ReceiptNeverGiven.
    """
    found = _NUMBER.fullmatch(receipt)
    if found is None:
        raise BadReceiptNumber(f"{receipt!r} is no receipt number: one is written MC-<year>-<number>, as in an e-mail")
    year, number = int(found[1]), int(found[2])
    if number < (last := await _last(session)):
        raise ReceiptBeforeOurs(f"the receipt {last:06d} stands in this database: the last one is that or a later one")
    if number > last + MOST_LOST or year > (now(session) + _A_DAY).year:
        raise ReceiptNeverGiven(f"{receipt} was never given: the receipt {last:06d} stands in this database")
    drawn = await session.scalar(select(RECEIPT_NUMBERS.next_value())) or 0
    if number > drawn:
        await session.execute(select(func.setval(text("'receipt_numbers'"), number)))


async def last_receipt(session: AsyncSession) -> str:
    """Return a sentence, for the operator, about the last receipt that stands in this database."""
    return f"receipts to MC-<year>-{await _last(session):06d} stand here; later ones may have been given"


async def _last(session: AsyncSession) -> int:
    """Return the highest number of a receipt in this database; 0 where there is none."""
    numbers = cast(func.substring(Order.receipt_number, r"\d+$"), BigInteger)
    return await session.scalar(select(func.coalesce(func.max(numbers), 0))) or 0
