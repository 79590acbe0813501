"""Accounts as their owners use them: opened, signed in to, kept signed in to."""

from uuid import UUID

from gateway.commands.grants import give_roles

PASSWORD = "nine brass engines humming"


async def open_account(client, email="ada@example.org", password=PASSWORD):
    return await client.post("/v1/accounts", json={"email": email, "password": password})


async def sign_in(client, email="ada@example.org", password=PASSWORD):
    return await client.post("/v1/sign-ins", json={"email": email, "password": password})


async def refresh(client, token):
    return await client.post("/v1/sign-ins/refresh", json={"refresh_token": token})


def code(answer):
    return answer.status_code, answer.json().get("code")


async def operator(service, session, client):
    """An operator's authorization header, and the account."""
    account = (await open_account(client, "root@example.org")).json()
    await give_roles(session, UUID(account["account_id"]), ["operator"], granted_by="test")
    await session.commit()
    tokens = (await sign_in(client, "root@example.org")).json()
    return {"Authorization": f"Bearer {tokens['access_token']}"}, account
