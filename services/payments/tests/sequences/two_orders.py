"""Lives of two orders of one course, both open before either is paid: the first is over its time when the second is
placed, and its pay page is still open."""

from datetime import datetime, timedelta

from .life import Life
from .openings import PRICE

OTHERS = frozenset({"changed", "odd_sums", "future", "nulls", "odd_words", "others"})
"""Troubles that lives of one order have."""


class TwoOrders(Life):
    """Whoever does something does it to either order."""

    def __init__(self, driver, monkeypatch, seed):
        super().__init__(driver, monkeypatch, seed)
        self.troubles -= OTHERS
        self.opening = self.chance.choice(["overdue", "expired"])
        self.orders = []

    async def begin(self):
        course_id = await self.driver.sell(PRICE)
        self.total = PRICE
        first = await self.driver.order(course_id)
        self.driver.clock.at = datetime.fromisoformat(first["expires_at"]) - timedelta(minutes=5)
        pages = [await self.driver.open_session(first)]
        self.driver.clock.advance(minutes=6)
        if self.opening == "expired":
            await self.run("expire_orders")
        second = await self.driver.order(course_id)
        pages.append(await self.driver.open_session(second))
        self.orders = [first, second]
        await self.driver.control.put("/control/callbacks", json={"mode": "hold"})
        self.chance.shuffle(pages)
        for page in pages[: self.chance.choice([1, 2, 2])]:
            self.driver.sandbox.session(page)["status"] = "open"
            payment = await self.driver.pay(page, method=self.chance.choice(["card", "bank_transfer"]))
            self.driver.sandbox.payment(payment["payment_id"])["plan"] = []
            self.turn()

    def turn(self):
        self.order = self.chance.choice(self.orders)

    async def deliver(self):
        await super().deliver()
        self.turn()

    async def wait(self):
        await super().wait()
        self.turn()

    async def retry(self, *which):
        for order in self.orders:
            self.order = order
            await super().retry(*which)
