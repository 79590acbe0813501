"""What is worked out for somebody who no longer waits."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest
from starlette.requests import ClientDisconnect, Request

from credentials.api.waiting import while_awaited
from openbadges.testing import heavy
from openbadges.verification.slots import VerifierBusy
from openbadges.verification.verifier import Verifier


def request(milliseconds: str | None = None, *, leaves: asyncio.Event | None = None) -> Request:
    async def receive() -> dict:
        await (leaves or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    headers = [] if milliseconds is None else [(b"x-request-timeout-ms", milliseconds.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.fixture
def work():
    class Work:
        ended = False

        async def go_on(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                self.ended = True

    return Work()


async def test_work_ends_when_its_caller_has_left(work) -> None:
    leaves = asyncio.Event()
    waiting = asyncio.create_task(while_awaited(request(leaves=leaves), work.go_on(), margin=1))
    await asyncio.sleep(0)
    assert not work.ended
    leaves.set()
    with pytest.raises(ClientDisconnect):
        await waiting
    assert work.ended


async def test_work_ends_before_the_callers_time_does(work) -> None:
    with pytest.raises(VerifierBusy):
        await while_awaited(request("1050"), work.go_on(), margin=1)
    assert work.ended


async def test_work_ends_with_the_request(work) -> None:
    waiting = asyncio.create_task(while_awaited(request(), work.go_on(), margin=1))
    await asyncio.sleep(0.01)
    waiting.cancel()
    with suppress(asyncio.CancelledError):
        await waiting
    assert work.ended


@pytest.mark.parametrize("header", [None, "60000", "", "soon", "-1"])
async def test_what_is_done_in_time_is_answered(header) -> None:
    async def done() -> str:
        return "done"

    async def fails() -> None:
        raise TimeoutError

    assert await while_awaited(request(header), done(), margin=1) == "done"
    with pytest.raises(TimeoutError):
        await while_awaited(request(header), fails(), margin=1)


async def test_a_document_whose_answer_comes_too_late_gives_up_its_place(service, session, clock, monkeypatch) -> None:
    verifier = service.service.resources[Verifier]
    monkeypatch.setattr(verifier, "limits", replace(verifier.limits, answer_margin_seconds=9.9))
    async with service.client() as anyone:
        answer = await anyone.post("/v1/verifications", content=heavy(), headers={"X-Request-Timeout-Ms": "10000"})
    assert (answer.status_code, answer.json()["code"]) == (503, "verifier_busy")
    assert answer.headers["retry-after"]
    slots = verifier.sandbox_pool.slots
    assert (slots.free, slots.waiting, slots._taken) == (verifier.limits.workers, [], 0)
