"""Stored replies when a person is erased: what they say goes, that the request was done stays."""

import json

import pytest
from sqlalchemy import text

from shared.idempotency import erase_replies
from shared.ids import new_id

from .refunds_api import ask, both_ways, client, counts

NAME = 'Zoë "the" Łukasiewicz'


async def erase(api, person_id, *words):
    async with api.database.transaction() as session:
        await erase_replies(session, person_id, *words)


@both_ways
async def test_who_asks_again_learns_that_it_was_done_and_nothing_is_done_again(api, payments, way):
    erased, other = new_id(), new_id()
    async with client(api, api.issuer.token("learner", id=erased)) as theirs:
        await ask(theirs)
        async with client(api, api.issuer.token("learner", id=other)) as another:
            kept = await ask(another)
            await erase(api, erased)
            for _ in range(2):
                repeat = await ask(theirs)
                assert (repeat.status_code, repeat.json()["code"]) == (410, "reply_erased")
                assert "idempotency-replayed" not in repeat.headers
            assert (await ask(another)).content == kept.content
            assert (await ask(theirs, amount=1)).json()["code"] == "idempotency_key_reused"
    assert await counts(payments) == (2, 2, 2)


@pytest.mark.parametrize("holds", ["{id}", NAME, "Zoë"])
async def test_what_was_answered_to_others_goes_too(api, payments, holds):
    person = new_id()
    replies = {"theirs": {"said": holds.format(id=person)}, "alike": {"said": f"Dr {NAME}"}}
    async with api.database.transaction() as session:
        for key, content in replies.items():
            body = json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()
            await session.execute(
                text("""
                    insert into idempotency_keys (caller, operation, key, request_sha256, status, headers, body)
                    values ('registrar', 'decide', :key, '', 200, '{"location": "/x"}', :body)
                """),
                {"key": key, "body": body},
            )
        await erase_replies(session, person, NAME, "Zoë", None, "")
        rows = await session.execute(text("select key, status, body <> '', headers::text from idempotency_keys"))
        found = {row[0]: tuple(row[1:]) for row in rows}
    assert found == {"theirs": (410, False, "{}"), "alike": (200, True, '{"location": "/x"}')}
