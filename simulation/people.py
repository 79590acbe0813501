"""People who call the public API: with tokens of the real gateway, trying again where an answer is lost."""

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid5

import httpx

from embedded.journey import NAMESPACE
from gateway.edge.routes import load
from payments.adapters.flywire import sign
from simulation.activities import current
from simulation.network import json_of

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform

ROUTES = load()
PASSWORD = "nine brass engines humming"  # noqa: S105 - of people who do not exist
TRIES = 3
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
_UNKEYED: set[str] = {"/v1/shares", "/v1/partners"}
"""Paths of operations that take no Idempotency-Key; those that say so in an answer are added."""
NAMES = {
    "ada": ("Adelheid", "Quintrell"),
    "ben": ("Benvenuto", "Zabriskie"),
    "cleo": ("Cleopatra", "Wintergreen"),
    "dora": ("Dorothea", "Yarborough"),
}
"""Given and family names that occur in nothing else, so that traces of them can be searched for."""
JSON = dict[str, Any]  # Any: JSON


@dataclass
class Answer:
    """An answer to a request. Status 0: none arrived, so what was asked for may have happened or not."""

    status: int
    body: Any = None  # Any: JSON

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def code(self) -> str:
        return str(self.body.get("code", "")) if isinstance(self.body, dict) else ""


@dataclass
class Person:
    """Somebody who calls the API; signed in anew before the access token expires."""

    platform: "SimulatedPlatform"
    name: str
    roles: tuple[str, ...] = ("learner",)
    id: str = ""
    token: str = ""
    until: float = 0.0
    asked: int = 0
    memory: JSON = field(default_factory=dict[str, Any])
    """What they remember of earlier answers."""

    @property
    def email(self) -> str:
        return f"{self.name}@people.example"

    async def sign_in(self) -> bool:
        async def ask() -> bool:
            async with self._client() as client:
                answer = await client.post(
                    self._url("POST", "/v1/sign-ins"), json={"email": self.email, "password": PASSWORD}
                )
            if not answer.is_success:
                return False
            reply = answer.json()
            self.token, self.id = reply["access_token"], reply["account"]["account_id"]
            self.until = self.platform.time.seconds() + 420
            return True

        return await self.platform.quietly(ask)

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=self.platform.network, trust_env=False)

    def _url(self, method: str, path: str) -> str:
        return self.platform.deployment.address(ROUTES.find(method, path.encode()).service) + path

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content: bytes | None = None,
        key: str | None = None,
        anonymous: bool = False,
        **parameters: object,
    ) -> Answer:
        """Send a request, and the same one again, up to three times in all, where no answer or a 5xx came."""
        if not anonymous and self.platform.time.seconds() > self.until and not await self.sign_in():
            return Answer(401)
        self.asked += 1
        self.platform.changes += method != "GET"
        headers = {} if anonymous else {"Authorization": f"Bearer {self.token}"}
        if method == "POST" and _ID.sub("*", path) not in _UNKEYED:
            headers["Idempotency-Key"] = str(uuid5(NAMESPACE, f"{self.name} {key or self.asked}"))
        if content is not None:
            headers["Content-Type"] = "application/octet-stream"
        query = {name: str(value) for name, value in parameters.items() if value is not None}
        activity = current.get()
        for _ in range(TRIES):
            try:
                async with self._client() as client:
                    answer = await client.request(
                        method,
                        self._url(method, path),
                        headers=headers,
                        json=body,
                        content=content,
                        params=query or None,
                    )
            except httpx.TransportError:
                if activity is not None and activity.chance.random() < 0.4:
                    return Answer(0)
                continue
            if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE or answer.status_code >= 500:
                continue
            tokens = Answer(answer.status_code, json_of(answer))
            if tokens.code == "idempotency_key_not_taken":
                _UNKEYED.add(_ID.sub("*", path))
                headers.pop("Idempotency-Key")
                continue
            self.platform.answered(method, path, tokens.status, tokens.code)
            return tokens
        return Answer(0)

    async def notify(self, body: bytes) -> int:
        """Send a callback as the provider does. Returns the status of the answer, 0 where none came."""
        secret = self.platform.provider.secret
        headers = {"X-Flywire-Digest": sign(body, secret.encode()).decode(), "Content-Type": "application/json"}
        path = "/v1/payment-notifications"
        try:
            async with self._client() as client:
                answer = await client.post(self._url("POST", path), content=body, headers=headers)
        except httpx.TransportError:
            return 0
        return answer.status_code

    async def items(self, path: str, **parameters: Any) -> list[Any]:  # Any: those of `ask`; JSON
        """Return the first page of a list; nothing where it could not be read."""
        answer = await self.ask("GET", path, limit=100, **parameters)
        return answer.body["items"] if answer.ok else []
