"""Somebody is anonymised at the front door, and every service lets go of what it held of them."""

import secrets

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from embedded import demo
from embedded.journey import Name, Refused, connected, eventually, until


async def test_whoever_is_anonymised_is_let_go_of_in_one_process(embedded_platform):
    await _is_let_go_of(embedded_platform)


@pytest.mark.slow
@pytest.mark.broker
async def test_whoever_is_anonymised_is_let_go_of_by_services_apart(separate_services):
    await _is_let_go_of(separate_services)


REPLIES = "idempotency_keys"


async def ask_for_more(learner, name):
    """What is answered to these is stored in enrolment and in credentials, and says who asked."""
    body = {"family_name": f"{name.family}-Reid", "given_name": name.given, "statement": f"I am {name.family}."}
    await learner.ask("POST", "/v1/name-requests", body)
    claim = {
        "title": "Statistics",
        "institution": "Elsewhere University",
        "completed_on": "2024-06-30",
        "credits": 15,
        "level": 7,
        "statement": f"{name.family} passed it.",
    }
    await eventually(lambda: learner.ask("POST", "/v1/recognitions", claim), patient_with={"not_found"})


async def holding(databases, words, *only, column=None):
    """The tables, of these or of all, in a row of which (or in its body as it was sent) one of these words stands."""
    found = set()
    for service, url in databases.items():
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            tables = await connection.scalars(text("select tablename from pg_tables where schemaname = 'public'"))
            for table in tables.all():
                if only and table not in only:
                    continue
                stored = "convert_from(t.body, 'UTF8')" if table == REPLIES else "''"
                row = stored if column else f"to_jsonb(t)::text || {stored}"
                seen = text(f"select exists (select from {table} t where ({row}) ilike any(:words))")
                if await connection.scalar(seen, {"words": [f"%{word}%" for word in words]}):
                    found.add((service, table))
        await engine.dispose()
    return found


async def _let_go(databases, email, name):
    """Each service in its own time; what it comes to, where it comes to nothing."""
    left = await holding(databases, (email, name.family))
    return left if not left else None


async def test_replies_are_stored_in_one_table_of_each_service(embedded_platform):
    """Erasure blanks them there (`shared.idempotency`): another table of replies is to be thought of, too."""
    for service, url in embedded_platform.deployment.databases.items():
        engine = create_async_engine(url)
        async with engine.connect() as connection:
            tables = await connection.scalars(
                text("""
                    select table_name from information_schema.columns where table_schema = 'public'
                    group by table_name having array_agg(column_name::text) @> '{status,headers,body}'
                """)
            )
            assert tables.all() == [REPLIES], service
        await engine.dispose()


async def _is_let_go_of(platform):
    narrator = demo.Narrator(platform.deployment.folder, platform.feeds)
    password = "nine brass engines humming"
    async with connected(platform.url) as client:
        cast = await demo.cast_of(client, platform.deployment.folder)
        await narrator.events()  # what travelled before does not belong to it
        learner, registrar = cast.learner, cast.staff["registrar"]
        learner_id = (await learner.open_account(cast.email, password))["account_id"]
        name = Name("Ada", "Love" + "".join(secrets.choice("abcdefghij") for _ in range(12)))
        await learner.register(name, cast.email)
        await ask_for_more(learner, name)
        [course] = (await learner.ask("GET", "/v1/courses", limit=1))["items"]
        order = await learner.order([course["course_id"]])
        await learner.check_out(order, name, cast.email)
        held = await holding(platform.deployment.databases, (cast.email, name.family, learner_id), REPLIES)
        assert {service for service, _ in held} == {"gateway", "enrolment", "credentials", "payments"}

        await registrar.ask("PUT", f"/v1/learners/{learner_id}/anonymisation")
        await narrator.events(
            learner_id,
            "enrolment.learner.anonymised.v1",
            "gateway.account.closed.v1",
            "payments.order.expired.v1",
        )
        left = await until(lambda: _let_go(platform.deployment.databases, cast.email, name), "every service let go")
        assert left == set(), "what is left of who it was"
        assert await holding(platform.deployment.databases, (learner_id,), REPLIES, column="body") == set()
        # The last token works for its minutes; there is no other.
        assert (await learner.ask("GET", f"/v1/orders/{order['order_id']}"))["status"] == "expired"
        with pytest.raises(Refused) as refused:
            await learner.sign_in(cast.email, password)
        assert (refused.value.status, refused.value.code) == (401, "wrong_credentials")
