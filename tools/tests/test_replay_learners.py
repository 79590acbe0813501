"""A learner of the data set pays once, whatever becomes of the answers."""

import httpx
import pytest

from embedded.replay.journal import Journal
from embedded.replay.learners import Mismatch, Student

URL = "http://provider.example/pay/s1"


class Provider:
    """Takes the payment; what it answers may be lost."""

    def __init__(self, *, lost):
        self.lost, self.payments, self.asked = lost, 0, 0

    def __call__(self, request):
        self.asked += 1
        if self.payments:
            return httpx.Response(422, json={"message": "The session is paid"})
        self.payments += 1
        if self.lost:
            raise httpx.ReadError("the connection was closed")
        return httpx.Response(201)


@pytest.fixture
def pay(tmp_path):
    async def pay(provider, *, resumed=False):
        if resumed:
            Journal(tmp_path / "replay.jsonl")
        journal = Journal(tmp_path / "replay.jsonl")
        async with httpx.AsyncClient(transport=httpx.MockTransport(provider)) as client:
            await Student(client, journal, "test", 1)._pay(URL)

    return pay


async def test_a_lost_answer_is_asked_for_again_and_nothing_paid_twice(pay):
    provider = Provider(lost=True)
    await pay(provider)
    assert (provider.payments, provider.asked) == (1, 2)


async def test_a_page_paid_before_the_replay_was_broken_off_is_paid(pay):
    provider = Provider(lost=False)
    provider.payments = 1
    await pay(provider, resumed=True)
    assert provider.payments == 1


async def test_a_page_somebody_else_paid_is_reported(pay):
    provider = Provider(lost=False)
    provider.payments = 1
    with pytest.raises(Mismatch, match="is paid"):
        await pay(provider)


async def test_a_provider_that_never_answers_is_reported(pay):
    def silent(request):
        raise httpx.ConnectError("nobody is there")

    with pytest.raises(Mismatch, match="does not answer"):
        await pay(silent)
