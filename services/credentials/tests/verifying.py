"""Badges as somebody brings them to be checked."""

from openbadges import keys
from openbadges import testing as foreign
from openbadges.testing import sign

from .announcements import hold_credit, let_time_work


async def issued(service, session, learner) -> tuple[str, bytes]:
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    async with service.client("learner", id=learner) as client:
        found = (await client.get("/v1/badges")).json()["items"][0]
        return found["badge_id"], (await client.get(f"/credentials/{found['badge_id']}")).content


def sign_as_anybody(document: dict) -> dict:
    did = f"did:key:{foreign.MULTIKEY}"
    issuer = {"id": did, "type": ["Profile"], "name": "Other University"}
    return sign(document | {"issuer": issuer}, keys.LocalSigner(foreign.ED, f"{did}#{foreign.MULTIKEY}"))
