"""What tests share, hand over and fetch."""

from credentials.exchange.api.shared_views import SharedRecordView
from shared.events.gateway import PartnerRegistered

from .announcements import BEFORE, consume, named

P, Q = "mcp_partner", "mcp_other"


READS = ("transcripts:read",)


FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "text/html"}


async def know(
    session, *client_ids: str, scopes: tuple[str, ...] = ("transcripts:read", "transfers:decide", "webhooks:manage")
) -> None:
    for client_id in client_ids:
        name = f"University {client_id}"
        await consume(session, PartnerRegistered(client_id=client_id, name=name, scopes=scopes, registered_at=BEFORE))


def body(learner, *codes: str, **changes):
    return {
        "purpose": "Admission",
        "credit_ids": [str(named("credit", learner, code)) for code in codes],
        "days": 30,
    } | changes


async def consent(service, learner, *codes: str, **changes) -> dict:
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/shares", json=body(learner, *codes, client_id=P) | changes)
        assert answer.status_code == 201, answer.text
        return answer.json()


async def redeem(service, code: str, partner: str = P):
    async with service.client(client_id=partner, scopes=READS) as client:
        return await client.post("/v1/shared-records", json={"code": code})


async def handed_over(service, learner, *codes: str, **changes) -> dict:
    """A consent the partner knows of."""
    granted = await consent(service, learner, *codes, **changes)
    await redeem(service, granted["code"], changes.get("client_id", P))
    return granted


async def fetch(service, share_id: str, partner: str = P):
    async with service.client(client_id=partner, scopes=READS) as client:
        answer = await client.post(f"/v1/shared-records/{share_id}/fetches")
        assert answer.is_error or is_documented(answer.json(), SharedRecordView)
        return answer


def is_documented(body: dict, view: type) -> bool:
    """The reply is all that the OpenAPI document says of it, and no more."""
    return view.model_validate(body).model_dump(mode="json", exclude_unset=True) == body


async def link(service, learner, **changes) -> str:
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/shares", json=body(learner, "DS01", "DS02", recipient="Acme") | changes)
        assert answer.status_code == 201, answer.text
        return answer.json()["address"].removeprefix("https://badges.example.ac.uk")
