"""How tests register an address of a partner, and have it notified."""

from sqlalchemy import select

from credentials import jobs as clockwork
from credentials.exchange.commands import webhooks
from shared.jobs import Work
from shared.messaging.message import read
from shared.messaging.tables import Outgoing
from shared.testing.services import published

from .shares import P

MANAGES = ("webhooks:manage",)


async def register(service, url: str, client_id: str = P) -> dict:
    async with service.client(client_id=client_id, scopes=MANAGES) as client:
        body = {"url": url, "contact_email": "it@example.edu"}
        answer = await client.post("/v1/webhook-endpoints", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()


async def send(service, session=None) -> None:
    """What the two jobs do. In a test's own transaction the event log has no readers, so it is read here."""
    work = Work(service.process.database, service.service.resources)
    if session is None:
        await clockwork.notify_partners(work)
    else:
        await published(session)  # writes what is announced
        for body in await session.scalars(select(Outgoing.body).order_by(Outgoing.position)):
            message = read(body.encode())
            await webhooks.notify_partners(session, message.id, message.event)
        await session.flush()
    await clockwork.send_webhooks(work)
    if session is not None:
        session.expire_all()
