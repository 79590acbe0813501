"""One person who operates the platform, with as many accounts as they like, gets no result marked, released or ratified."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from embedded import demo, people
from embedded.journey import Learner, Person, Refused, connected

PASSWORD = "nine brass engines humming"


class Somebody(Learner):
    """One of the person's accounts, with an invented address."""

    account_id = ""

    async def opens(self):
        address = f"invented-{secrets.token_hex(6)}@nowhere.example"
        self.account_id = (await self.open_account(address, PASSWORD))["account_id"]
        return address

    async def tries(self, method, path, body=None, *, keyed=True) -> Any:  # Any: JSON
        """The answer, or the code of the refusal."""
        try:
            return await self.ask(method, path, body, keyed=keyed)
        except Refused as refused:
            return refused.code


async def test_one_person_with_many_accounts_gets_no_result_ratified(embedded_platform):
    deployment = embedded_platform.deployment
    known = people.known(deployment.folder)
    async with connected(embedded_platform.url) as client:
        root, unsuspecting = Somebody(client), Person(client)
        await root.sign_in(known["operator"].email, known["operator"].password)
        student, window_id = await hands_in(embedded_platform, client, root)
        crew = {name: Somebody(client) for name in ("marker", "examiner", "board", "operator")}
        for role, one in crew.items():
            await one.opens()
            body = {"roles": ["learner", people.ROLES[role]]}
            await root.tries("POST", f"/v1/accounts/{one.account_id}/roles", body, keyed=False)
        await sign_in_again(crew)
        assert await goes_on(crew, window_id) == ["not_permitted"] * 4
        await confirm_among_themselves(root, crew)
        await sign_in_again(crew)
        assert await goes_on(crew, window_id) == ["not_permitted"] * 4

        # The other operator is talked into confirming an operator who is nobody but the first.
        await unsuspecting.sign_in(known["second_operator"].email, known["second_operator"].password)
        [waiting] = [
            one async for one in root.all("/v1/role-grants", account_id=crew["operator"].account_id, waiting=True)
        ]
        given = f"/v1/role-grants/{waiting['grant_id']}/confirmation"
        assert (await unsuspecting.ask("POST", given, keyed=False))["state"] == "confirmed"
        await sign_in_again(crew)
        second = crew["operator"]
        assert [one async for one in second.all("/v1/role-grants", waiting=True)], "it is an operator"
        await confirm_among_themselves(root, crew)
        for proposer, confirmer in ((root, second), (second, root)):
            for role in ("marker", "examiner", "board"):
                path = f"/v1/accounts/{crew[role].account_id}/roles"
                body = {"roles": ["learner", people.ROLES[role]]}
                answer = await proposer.tries("POST", path, body, keyed=False)
                if proposer is second:  # nobody in the installation could confirm it
                    assert answer == "nobody_to_confirm"
                else:
                    grant = f"/v1/role-grants/{answer['proposed']['grant_id']}/confirmation"
                    assert await confirmer.tries("POST", grant, keyed=False) == "not_independent"
        await sign_in_again(crew)
        assert await goes_on(crew, window_id) == ["not_permitted"] * 4
        assert [one async for one in student.all("/v1/credits")] == []


async def hands_in(platform, client, root):
    """A learner, one of the person's accounts, has handed in work to a window that is closed."""
    narrator = demo.Narrator(platform.deployment.folder, platform.feeds)
    student = Somebody(client)
    cast = demo.Cast(student, await student.opens(), {}, student.account_id)
    await student.register(demo.NAME, cast.email)
    enrolment, *_ = await demo.buy(narrator, cast, (await student.ask("GET", "/v1/courses", limit=1))["items"])
    now = datetime.now(UTC)
    body = {"opens_at": now.isoformat(), "closes_at": (now + timedelta(hours=1)).isoformat()}
    window_id = (await root.ask("POST", "/v1/windows", body))["window_id"]
    await student.submit(enrolment["enrolment_id"], window_id, b"# Nothing much\n")
    await root.ask("POST", f"/v1/windows/{window_id}/closing")
    return student, window_id


async def sign_in_again(crew):
    for one in crew.values():
        await one.sign_in(**one._credentials)


async def goes_on(crew, window_id):
    """What each step towards a credit is answered with: the queue, a mark, the release, the board."""
    queue = await crew["marker"].tries("GET", f"/v1/marking-queue?window_id={window_id}")
    submission = uuid4() if isinstance(queue, str) else queue["items"][0]["submission_id"]
    judgement = {"mark": "99", "feedback": "Outstanding in every respect."}
    minutes = {"window_id": window_id, "minutes_reference": f"ALONE-{secrets.token_hex(3)}"}
    return [
        queue,
        await crew["marker"].tries("POST", f"/v1/submissions/{submission}/marks", judgement),
        await crew["examiner"].tries("POST", f"/v1/windows/{window_id}/release"),
        await crew["board"].tries("POST", "/v1/boards", minutes),
    ]


async def confirm_among_themselves(root, crew):
    """Whatever waits, every account of the person says a second word: none counts."""
    waiting = [one async for one in root.all("/v1/role-grants", waiting=True)]
    assert waiting
    for grant in waiting:
        for one in (root, *crew.values()):
            code = await one.tries("POST", f"/v1/role-grants/{grant['grant_id']}/confirmation", keyed=False)
            assert code in {"not_permitted", "not_independent", "own_grant"}, code
