"""Operators and other people of the tests about roles, each known by a name."""

from uuid import UUID

from gateway.commands.grants import give_roles

PASSWORD = "nine brass engines humming"


def code(answer):
    return answer.status_code, answer.json().get("code")


class People:
    def __init__(self, client, transaction):
        self.client, self._transaction = client, transaction
        self.ids: dict[str, str] = {}
        self.tokens: dict[str, str] = {}
        """Of whom comes with the same one each time; everybody else signs in for each thing they ask."""

    async def opens(self, *names):
        """Accounts of learners, as anybody opens them."""
        for name in names:
            body = {"email": f"{name}@example.org", "password": PASSWORD}
            self.ids[name] = (await self.client.post("/v1/accounts", json=body)).json()["account_id"]

    async def roots(self, *names):
        """Operators by the command line."""
        await self.opens(*names)
        for name in names:
            async with self._transaction() as session:
                await give_roles(session, UUID(self.ids[name]), ["operator"], granted_by="command line (ops)")

    async def token(self, name):
        """A new session, with the roles as they are."""
        body = {"email": f"{name}@example.org", "password": PASSWORD}
        return (await self.client.post("/v1/sign-ins", json=body)).json()["access_token"]

    async def ask(self, name, method, path, **sent):
        token = self.tokens.get(name) or await self.token(name)
        headers = {"Authorization": f"Bearer {token}"}
        return await self.client.request(method, path, headers=headers, **sent)

    async def roles(self, name):
        return (await self.ask(name, "GET", "/v1/accounts/me")).json()["roles"]

    async def sets(self, by, name, *roles):
        return await self.ask(by, "POST", f"/v1/accounts/{self.ids[name]}/roles", json={"roles": list(roles)})

    async def proposes(self, by, name, *roles):
        """A grant besides what they have; its id."""
        answer = await self.sets(by, name, *await self.roles(name), *roles)
        assert answer.status_code == 200, answer.text
        return answer.json()["proposed"]["grant_id"]

    async def confirms(self, by, grant):
        return await self.ask(by, "POST", f"/v1/role-grants/{grant}/confirmation")

    async def refuses(self, by, grant):
        return await self.ask(by, "POST", f"/v1/role-grants/{grant}/refusal")

    async def gives(self, proposer, confirmer, name, *roles):
        """Roles on two words."""
        answer = await self.confirms(confirmer, await self.proposes(proposer, name, *roles))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def grants(self, by, **params):
        return (await self.ask(by, "GET", "/v1/role-grants", params=params)).json()["items"]
