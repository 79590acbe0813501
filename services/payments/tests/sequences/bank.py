"""What payers' banks decide, as finance enters it."""

from typing import Any

from .books import must
from .provider import Provider


class Bank:
    """The disputes of a `Life`."""

    driver: Any
    chance: Any
    also: Any
    second: Any
    provider: Provider
    order: Any
    taken: set[str]

    async def dispute(self, outcome=None):
        async with self.driver.service.client("finance") as finance:
            if self.taken and self.second.random() < 0.3:
                again = await self.dispute_again(finance)
                if again and (outcome or self.second.random() < 0.7):
                    outcome = outcome or self.second.choice(["won", "won", "withdrawn", "lost"])
                    await self.close_dispute(finance, again, outcome)
                return
            open_ = (await finance.get("/v1/disputes", params={"open": True})).json()["items"]
            mine = [one for one in open_ if one["order_id"] == self.order["order_id"]]
            if mine and self.also.random() < 0.7:
                outcome = outcome or self.chance.choice(["won", "lost", "withdrawn"])
                await self.close_dispute(finance, self.also.choice(mine), outcome)
            else:
                body = {"order_id": self.order["order_id"], "reason_code": "other", "case_reference": "CB-1"}
                paid = [one["reference"] for one in (await self.driver.read(self.order))["payments"]]
                if paid and self.also.random() < 0.7:  # whatever became of it
                    body["payment_reference"] = self.also.choice(paid)
                answer = await finance.post("/v1/disputes", json=body)
                assert answer.status_code in {201, 409}
                if answer.status_code == 201:
                    named = body.get("payment_reference", answer.json()["payment_reference"])
                    self.provider.disputed[answer.json()["dispute_id"]] = named

    async def dispute_again(self, finance):
        """A bank looks a second time at a payment of this order that it took; the dispute, where there is one."""
        of_order = {one["reference"] for one in (await self.driver.read(self.order))["payments"]}
        taken = sorted(self.taken & of_order - set(self.provider.disputed.values()))
        if not taken:
            return None
        reference = self.second.choice(taken)
        body = {"order_id": self.order["order_id"], "reason_code": "other", "case_reference": "CB-2"}
        answer = await finance.post("/v1/disputes", json=body | {"payment_reference": reference})
        must(answer.status_code == 201, "what the bank took cannot be disputed again", answer.text)
        self.provider.disputed[answer.json()["dispute_id"]] = reference
        return answer.json()

    async def close_dispute(self, finance, dispute, outcome):
        path = f"/v1/disputes/{dispute['dispute_id']}/closing"
        (await finance.post(path, json={"outcome": outcome})).raise_for_status()
        reference = self.provider.disputed.pop(dispute["dispute_id"])
        if outcome == "lost":
            self.taken.add(reference)
        else:
            self.taken.discard(reference)

    async def give_back(self):
        """A bank gives back what it took, long after all else has ended."""
        async with self.driver.service.client("finance") as finance:
            if again := await self.dispute_again(finance):
                await self.close_dispute(finance, again, "won")
