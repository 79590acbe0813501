"""How patiently somebody who calls the API asks again."""

import time
from uuid import UUID

import httpx
import pytest

from embedded import journey
from embedded.journey import Person, Refused


def somebody(*answers):
    """A person whom the API answers so, one after the other, and the keys that were sent."""
    left, keys = list(answers), []

    def answer(request):
        keys.append(UUID(request.headers["Idempotency-Key"]))
        given = left.pop(0)
        if isinstance(given, Exception):
            raise given
        status, headers = given
        return httpx.Response(status, json={"code": "not_now"}, headers=headers)

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://platform")
    return Person(client), keys


@pytest.mark.parametrize(
    "passing", [(503, {}), (409, {"Retry-After": "1"}), (429, {"Retry-After": "1"}), httpx.ReadError("lost")], ids=repr
)
async def test_what_passes_is_waited_for_under_the_same_key(passing):
    person, keys = somebody(passing, (200, {}))
    began = time.monotonic()
    assert await person.ask("POST", "/v1/orders", {}) == {"code": "not_now"}
    assert len(keys) == 2
    assert len(set(keys)) == 1
    if "Retry-After" in str(passing):
        assert time.monotonic() - began >= 1


@pytest.mark.parametrize("final", [(409, {}), (422, {}), (429, {"Retry-After": "3600"})], ids=repr)
async def test_what_does_not_pass_is_reported_at_once(final):
    person, keys = somebody(final)
    with pytest.raises(Refused, match="not_now"):
        await person.ask("POST", "/v1/orders", {})
    assert len(keys) == 1


@pytest.mark.parametrize("passing", [(503, {}), (409, {"Retry-After": "1"}), httpx.ReadError("lost")], ids=repr)
async def test_patience_ends(passing, monkeypatch):
    monkeypatch.setattr(journey, "TRIES", 3)
    monkeypatch.setattr(journey, "PATIENCE_SECONDS", 2.5)
    person, keys = somebody(*[passing] * 5)
    with pytest.raises((Refused, httpx.ReadError)):
        await person.ask("POST", "/v1/orders", {})
    assert len(keys) == 3
