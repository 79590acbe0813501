"""Learners with documents, for tests."""

from credentials.commands.people import store_person
from credentials.tables.people import Learner, Person

from .announcements import hold_credit as hold_credit_of_somebody
from .announcements import introduce, person


async def hold_credit(session, learner, **counts: int) -> None:
    """As everywhere, of a learner whose name is known."""
    if await session.get(Person, learner) is None:
        await introduce(session, learner)
    await hold_credit_of_somebody(session, learner, **counts)


async def documents_of(client) -> dict[str, list[dict]]:
    found: dict[str, list[dict]] = {}
    for document in (await client.get("/v1/documents")).json()["items"]:
        found.setdefault(document["kind"], []).append(document)
    return found


async def conferred(service, learner, title: str = "PGCert in Data Science", level: str = "pgcert") -> dict:
    async with service.client("learner", id=learner) as client, service.client("registrar") as office:
        claimed = await client.post("/v1/award-claims", json={"level": level, "title": title})
        return (await office.post(f"/v1/award-claims/{claimed.json()['award_id']}/conferral")).json()


async def rename(session, learner, version: int, **names: str) -> None:
    session.expire_all()
    row = await session.get(Learner, learner)
    row.name_version = version
    await session.flush()
    await store_person(session, person(learner, name_version=version, name_decided=True, **names))
    await session.flush()
    session.expire_all()
