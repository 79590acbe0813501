"""A partner university: its client at the gateway, its programme, and what it decides on transfers of credit."""

import random
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from simulation.base import must
from simulation.people import Person

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform

SCOPES = ["transcripts:read", "transfers:decide", "webhooks:manage"]


class Partner(Person):
    """The partner university; it authenticates with its client's secret."""

    def __init__(self, platform: "SimulatedPlatform", client: dict[str, str]) -> None:
        super().__init__(platform, "partner")
        self.client = client

    async def sign_in(self) -> bool:
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client["client_id"],
            "client_secret": self.client["secret"],
        }

        async def ask() -> bool:
            async with self._client() as client:
                answer = await client.post(self._url("POST", "/oauth/token"), data=form)
            if answer.is_success:
                self.token, self.until = answer.json()["access_token"], self.platform.time.seconds() + 200
            return answer.is_success

        return await self.platform.quietly(ask)

    def deeds(self) -> dict[Callable[[random.Random], Coroutine[Any, Any, None]], float]:
        return {self.decide: 4, self.complete: 2, self.give_back: 1}

    async def _transfers(self, *states: str) -> list[Any]:  # Any: JSON
        return [one for one in await self.items("/v1/transfers") if one["state"] in states]

    async def decide(self, chance: random.Random) -> None:
        if waiting := await self._transfers("requested"):
            transfer = chance.choice(waiting)
            lines = [
                {
                    "credit_id": line["credit_id"],
                    "outcome": chance.choice(["accept", "accept", "refuse"]),
                    "module_code": "DS7001",
                    "reason_code": "equivalent",
                    "reason": "Looked at.",
                }
                for line in transfer["lines"]
            ]
            until = (self.platform.time() + timedelta(days=chance.choice([5, 300]))).isoformat()
            path = f"/v1/transfers/{transfer['transfer_id']}/decision"
            await self.ask("POST", path, {"decisions": lines, "accepted_until": until})

    async def complete(self, chance: random.Random) -> None:
        if accepted := await self._transfers("accepted", "decided"):
            await self.ask("POST", f"/v1/transfers/{chance.choice(accepted)['transfer_id']}/completion")

    async def give_back(self, chance: random.Random) -> None:
        if accepted := await self._transfers("accepted", "decided", "completed"):
            path = f"/v1/transfers/{chance.choice(accepted)['transfer_id']}/return"
            await self.ask("POST", path, {"reason_code": "left_programme"})


async def register_partner(platform: "SimulatedPlatform", courses: list[dict[str, Any]]) -> dict[str, str]:
    """Register a partner and its programme, which takes in every course. Returns client id, secret and programme id."""
    operator, editor = Person(platform, "operator"), Person(platform, "editor")
    body = {"name": "Example University", "scopes": SCOPES}
    registered = await operator.ask("POST", "/v1/partners", body)
    client = must(registered, "a partner")
    programme = {
        "client_id": client["client_id"],
        "institution": "Example University",
        "code": "MSC-DS",
        "title": "MSc Data Science",
    }
    made = must(await editor.ask("POST", "/v1/programmes", programme), "a programme")
    modules = [
        {
            "course_version_id": course["course_version_id"],
            "module_code": f"DS{number}",
            "module_title": f"Module {number}",
            "credits": 15,
            "valid_from": (platform.time() - timedelta(days=30)).isoformat(),
            "decided_by": "Faculty Board",
        }
        for number, course in enumerate(courses)
    ]
    path = f"/v1/programmes/{made['programme_id']}/map"
    must(await editor.ask("PUT", path, {"ceiling_credits": 60, "modules": modules}), "its map")
    secret = client.get("secret") or client.get("client_secret")
    return {"client_id": client["client_id"], "secret": secret, "programme_id": made["programme_id"]}
