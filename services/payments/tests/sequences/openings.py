"""How a life begins: where it becomes interesting."""

from datetime import timedelta
from typing import Any

from .provider import Provider

PRICE = 49500


class Openings:
    """The beginnings of a `Life`, and what they do."""

    driver: Any
    chance: Any
    opening: str
    troubles: set[str]
    provider: Provider
    order: Any
    total: int
    callbacks: list[bytes]
    run: Any
    dispute: Any
    leave: Any

    async def begin(self):
        lines = self.chance.choice([1, 2, 3])
        self.order = await self.driver.order(*[await self.driver.sell(PRICE) for _ in range(lines)])
        self.total = PRICE * lines
        # Most lives begin where it becomes interesting.
        opening, reference = self.opening, ""
        paid = opening not in {"new", "parts", "declined", "revived", "underpaid"}
        if paid or opening == "underpaid":
            amount = self.total if paid else self.total - 500
            body = {"first_name": "SANDBOX_TO_GUARANTEED_STATUS", "amount": amount}
            payment = await self.driver.pay(await self.driver.open_session(self.order), **body)
            reference = payment["payment_id"]
            self.driver.sandbox.payment(reference)["plan"] = []
            if opening == "bank":
                await self.lose_to_the_bank(reference)
            elif opening != "paid" and paid:
                await self.driver.deliver(reference)
                await self.driver.refund(self.order, self.chance.randrange(lines))
            if opening in {"refunding", "refunded"} and paid:
                await self.run("submit_refunds")
                await self.driver.sandbox.run_due()
                for _ in range(2 if opening == "refunded" else 0):
                    await self.driver.later(seconds=0.5)
        if opening == "parts":
            await self.pay_in_parts()
        if opening == "declined":
            await self.pay_after_a_refusal()
        if opening == "revived":
            await self.pay_lose_and_begin_anew()
        await self.driver.control.put("/control/callbacks", json={"mode": "hold"})
        if opening == "paid" and {"lost_callbacks", "reverse"} <= self.troubles and "lag" not in self.troubles:
            await self.pay_out_and_take_back(reference)

    async def lose_to_the_bank(self, reference):
        """Before the provider has paid it out."""
        self.driver.clock.advance(seconds=1)
        await self.driver.status(reference, "guaranteed")
        await self.dispute()
        while self.provider.disputed:
            await self.dispute("lost")

    async def pay_out_and_take_back(self, reference):
        """Of which we learn late, after we have asked, and by a clock that is behind ours."""
        payment, sandbox = self.driver.sandbox.payment(reference), self.driver.sandbox
        sandbox.set_status(payment, "delivered")
        self.driver.clock.advance(minutes=3)
        await self.run("ask_about_payments")
        sandbox.set_status(payment, "reversed", at=self.driver.clock() - timedelta(minutes=1))
        self.callbacks = self.provider.take()

    async def pay_in_parts(self):
        """Too little, once or twice; some of it is lost and may come back."""
        count = self.chance.choice([1, 1, 2])
        references = []
        for n in range(count):
            session_id = await self.driver.open_session(self.order, payer={"email": f"{n}@example.org"})
            payment = await self.driver.pay(
                session_id, first_name="SANDBOX_TO_GUARANTEED_STATUS", amount=10000 * (n + 1)
            )
            self.driver.sandbox.payment(payment["payment_id"])["plan"] = []
            references.append(payment["payment_id"])
        self.driver.clock.advance(seconds=1)
        await self.driver.status(references[0], "cancelled")
        if count == 1:
            if self.chance.random() < 0.5:
                await self.leave()
            if self.chance.random() < 0.7:
                self.driver.clock.advance(seconds=1)
                await self.driver.status(references[0], "processed")

    async def pay_after_a_refusal(self):
        """A declined card does not end the payer's session: another payment follows in it."""
        session_id = await self.driver.open_session(self.order)
        first = await self.driver.pay(session_id, first_name="SANDBOX_TO_CANCEL_STATUS")
        self.driver.clock.advance(seconds=1)
        await self.driver.status(first["payment_id"], "failed")
        await self.driver.control.put("/control/callbacks", json={"mode": self.chance.choice(["drop", "hold"])})
        self.driver.sandbox.session(session_id)["status"] = "open"
        self.driver.clock.advance(minutes=self.chance.choice([1, 20]))
        second = await self.driver.pay(session_id, first_name="SANDBOX_TO_GUARANTEED_STATUS")
        self.driver.sandbox.payment(second["payment_id"])["plan"] = []

    async def pay_lose_and_begin_anew(self):
        """Money that was there, is gone, and is on its way again."""
        payment = await self.driver.pay(await self.driver.open_session(self.order))
        for status in ("cancelled", "initiated"):
            self.driver.clock.advance(seconds=1)
            await self.driver.status(payment["payment_id"], status)
