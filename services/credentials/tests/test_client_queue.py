"""Many behind one address: a class with its teacher, a university behind one gateway."""

import asyncio
import json
from collections import Counter

import pytest

from openbadges.testing import badge, heavy, sign
from openbadges.verification.verifier import Verifier
from shared.ids import new_id

ADDRESS = {"X-Forwarded-For": "203.0.113.7"}
SMALL = json.dumps(sign(badge())).encode()


async def test_a_class_behind_one_address_is_answered_at_once(service, session, clock) -> None:
    documents = [json.dumps(sign(badge(number))).encode() for number in range(24)]
    async with service.client() as anyone:
        answers = await asyncio.gather(
            *(anyone.post("/v1/verifications", content=document, headers=ADDRESS) for document in documents)
        )
    assert Counter(answer.status_code for answer in answers) == {200: 24}


@pytest.mark.parametrize(
    "who", [{"id": new_id()}, {"client_id": "partner", "scopes": ("credentials:read",)}], ids=["person", "partner"]
)
async def test_whoever_is_signed_in_waits_for_nobody_behind_the_same_address(service, session, clock, who) -> None:
    verifier = service.service.resources[Verifier]
    async with service.client() as anyone, service.client(**who) as known:
        async with verifier._client_queue.of(ADDRESS["X-Forwarded-For"], heavy()), asyncio.timeout(60):
            waiting = asyncio.create_task(anyone.post("/v1/verifications", content=SMALL, headers=ADDRESS))
            answer = await known.post("/v1/verifications", content=SMALL, headers=ADDRESS)
            assert answer.status_code == 200
            assert not waiting.done()
        assert (await waiting).status_code == 200
