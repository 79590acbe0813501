from uuid import UUID

from shared.events.gateway import AccountOpened
from shared.testing import published

PASSWORD = "nine brass engines humming"


async def open_account(client, email="ada@example.org", password=PASSWORD):
    return await client.post("/v1/accounts", json={"email": email, "password": password})


async def test_opening_an_account_announces_it(service, session):
    async with service.client() as client:
        answer = await open_account(client)
    assert answer.status_code == 201, answer.text
    assert answer.json()["roles"] == ["learner"]
    events = await published(session)
    assert [type(event) for event in events] == [AccountOpened]
    assert events[0].account_id == UUID(answer.json()["account_id"])
