"""Somebody is anonymised at the front door, and every service lets go of what it held of them."""

import pytest

from embedded import demo
from embedded.journey import Refused, connected


async def test_whoever_is_anonymised_is_let_go_of_in_one_process(embedded_platform):
    await _is_let_go_of(embedded_platform)


@pytest.mark.slow
@pytest.mark.broker
async def test_whoever_is_anonymised_is_let_go_of_by_services_apart(separate_services):
    await _is_let_go_of(separate_services)


async def _is_let_go_of(platform):
    story = demo.Story(platform.place.folder, platform.feeds)
    password = "nine brass engines humming"
    async with connected(platform.url) as client:
        cast = await demo.cast_of(client, platform.place.folder)
        await story.events()  # what travelled before does not belong to it
        learner, registrar = cast.learner, cast.staff["registrar"]
        learner_id = (await learner.open_account(cast.email, password))["account_id"]
        await learner.register(demo.NAME, cast.email)
        [course] = (await learner.ask("GET", "/v1/courses", limit=1))["items"]
        order = await learner.order([course["course_id"]])
        await learner.check_out(order, demo.NAME, cast.email)

        await registrar.ask("PUT", f"/v1/learners/{learner_id}/anonymisation")
        await story.events(
            learner_id,
            "enrolment.learner.anonymised.v1",
            "gateway.account.closed.v1",
            "payments.order.expired.v1",
        )
        # The last token works for its minutes; there is no other.
        assert (await learner.ask("GET", f"/v1/orders/{order['order_id']}"))["status"] == "expired"
        with pytest.raises(Refused) as refused:
            await learner.sign_in(cast.email, password)
        assert (refused.value.status, refused.value.code) == (401, "wrong_credentials")
