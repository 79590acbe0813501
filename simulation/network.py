"""The network between the parts: HTTP by address, the broker's queues, the outgoing e-mail."""

import json
from collections.abc import Sequence
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any

import httpx

from embedded.services import INTERNALS, PROVIDER
from shared.messaging.relay import Envelope
from simulation.activities import Activity, current
from simulation.replicas import Killed, gate, here

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform


class Network(httpx.AsyncBaseTransport):
    """Carries a request to a replica of the service that its port names, in the same task; the killed do not answer."""

    def __init__(self, platform: "SimulatedPlatform") -> None:
        self.platform = platform
        self.carried = 0
        """How many requests to the provider may have had an effect there."""
        self._names = {port: name for name, port in platform.deployment.ports.items()}

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = self._names[request.url.port or 80]
        if name == INTERNALS:
            name = "gateway"
        quiet = request.url.path.endswith("jwks.json")  # sent under a lock of the process that needs the keys
        token = current.set(None) if quiet else None
        try:
            return await self._carry(name, request)
        finally:
            if token is not None:
                current.reset(token)

    async def _carry(self, name: str, request: httpx.Request) -> httpx.Response:
        if name == PROVIDER:
            return await self._ask_provider(request)
        await gate(f"{request.method} {request.url.path}")
        activity = current.get()
        replica = self.platform.replica_of(name, activity)
        if replica is None or self._is_lost(activity):
            raise httpx.ConnectError(f"no {name}")
        try:
            with replica.at_work():
                transport = httpx.ASGITransport(app=replica.app, raise_app_exceptions=False)
                answer = await transport.handle_async_request(request)
                await answer.aread()
        except Killed as killed:
            if killed.replica is not replica:
                raise
            raise httpx.ReadError(f"{replica} died") from killed
        self._look_at(request, answer, activity)
        await self._come_back(activity)
        return answer

    async def _ask_provider(self, request: httpx.Request) -> httpx.Response:
        await gate(f"{request.method} {request.url.path}")
        activity = current.get()
        if self._is_lost(activity):
            raise httpx.ConnectError("no provider")
        provider = self.platform.provider
        self.carried += request.method != "GET"
        if activity is not None and provider.puts_off(request, activity.chance):
            return provider.page_in_front(request)
        asker = here.set(None)
        try:
            answer = await httpx.ASGITransport(app=provider.app).handle_async_request(request)
            await answer.aread()
        finally:
            here.reset(asker)
        answer = provider.distort(request, answer, activity)
        await self._come_back(activity)
        return answer

    async def _come_back(self, activity: Activity | None) -> None:
        if (asking := here.get()) is not None:
            asking.must_live()
        await gate("an answer")
        if self._is_lost(activity):
            raise httpx.ReadError("the answer was lost")

    def _is_lost(self, activity: Activity | None) -> bool:
        return activity is not None and activity.chance.random() < self.platform.losses

    def _look_at(self, request: httpx.Request, answer: httpx.Response, activity: Activity | None) -> None:
        if answer.status_code == httpx.codes.INTERNAL_SERVER_ERROR and not (activity and activity.troubled):
            self.platform.violate(
                "a request is answered with 500", f"{request.method} {request.url.path}: {answer.text}"
            )


class Broker:
    """A queue for each service; messages may arrive late, in any order, twice, or never."""

    at_once = 1
    batch = 100

    def __init__(self, platform: "SimulatedPlatform") -> None:
        self.platform = platform
        self.queues: dict[str, list[bytes]] = {}

    async def send(self, envelopes: Sequence[Envelope]) -> list[str | None]:
        await gate("the broker")
        activity = current.get()
        for envelope in envelopes:
            for name, types in self.platform.consumers.items():
                if envelope.type not in types:
                    continue
                if activity is not None and activity.chance.random() < self.platform.drops:
                    continue
                self.queues.setdefault(name, []).append(envelope.body)
        await gate("a confirm")
        return [None] * len(envelopes)

    def take(self, name: str, activity: Activity, most: int) -> list[bytes]:
        """Take some of the waiting messages; a part of them stays in the queue to arrive once more."""
        queue, chance = self.queues.get(name, []), activity.chance
        taken: list[bytes] = []
        for _ in range(min(most, len(queue))):
            at = chance.randrange(len(queue)) if chance.random() < self.platform.disorder else 0
            body = queue[at]
            taken.append(body)
            if chance.random() >= self.platform.doubles:
                del queue[at]
        return taken

    def put_back(self, name: str, bodies: Sequence[bytes]) -> None:
        self.queues.setdefault(name, []).extend(bodies)


class Post:
    """The e-mails sent, in order."""

    def __init__(self) -> None:
        self.emails: list[dict[str, str]] = []

    async def send(self, message: EmailMessage) -> None:
        await gate("the post")
        self.emails.append(
            {
                "to": str(message["To"]),
                "subject": str(message["Subject"]),
                "id": str(message["Message-ID"]),
                "text": message.get_content(),
            }
        )


def json_of(answer: httpx.Response) -> Any:  # Any: JSON
    try:
        return answer.json()
    except json.JSONDecodeError:
        return answer.text
