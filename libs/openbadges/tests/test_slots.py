"""What strangers' documents cost, where it is computed, and who waits for whom."""

import asyncio
import gzip
import json
from base64 import urlsafe_b64encode
from dataclasses import replace
from secrets import randbits

import pytest

from openbadges import testing as foreign
from openbadges.testing import (
    DID,
    LIST,
    NOW,
    ROOT,
    Elsewhere,
    as_jwt,
    badge,
    failures,
    forged_jwt,
    heavy,
    listed,
    sign,
    transcript,
)
from openbadges.verification.limits import Limits
from openbadges.verification.outside import Outside
from openbadges.verification.parsing import TooCostly
from openbadges.verification.slots import Slot, Slots, VerifierBusy
from openbadges.verification.verifier import Verifier

from .computing import computed_here, longest_step

SIGNED = sign(badge())
STEP_SECONDS = 0.1
"""Of a processor, the most that the event loop may stand still for one document; telling it of a large one takes most."""


def number(value: int) -> str:
    return urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode().rstrip("=")


def slow_key() -> dict:
    """An exponent as long as the modulus."""
    return {"kty": "RSA", "n": number((1 << 3071) | randbits(3071) | 1), "e": number((1 << 3070) | randbits(3070) | 1)}


def by_slow_keys() -> tuple[str, dict]:
    issuer = "did:jwk:" + urlsafe_b64encode(json.dumps(slow_key()).encode()).decode().rstrip("=")
    signature = randbits(3070).to_bytes(384, "big")
    parts = [forged_jwt(badge(one, issuer=issuer), {"alg": "RS256"}, signature) for one in range(99)]
    return forged_jwt(transcript(parts, issuer=issuer), {"alg": "RS256"}, signature), {}


def by_many_keys() -> tuple[str, dict]:
    methods = [
        {"id": f"{DID}#k", "type": "JsonWebKey", "controller": DID, "publicKeyJwk": slow_key()} for _ in range(98)
    ]
    document = {"id": DID, "assertionMethod": [f"{DID}#k"], "verificationMethod": methods}
    header, signature = {"alg": "RS256", "kid": f"{DID}#k"}, randbits(3070).to_bytes(384, "big")
    parts = [forged_jwt(badge(one), header, signature) for one in range(4)]
    return forged_jwt(transcript(parts), header, signature), {f"{ROOT}/.well-known/did.json": document}


def by_many_members() -> tuple[str, dict]:
    """A list that is thousands of gzip files, named eight times."""
    packed = gzip.compress(b"") * 30_000 + gzip.compress(bytes(16_384))
    encoded = "u" + urlsafe_b64encode(packed).decode().rstrip("=")
    document = foreign.status_list()
    del document["proof"]
    document["credentialSubject"]["encodedList"] = encoded
    entries = [listed(slot)["credentialStatus"] for slot in range(8)]
    return json.dumps(sign(badge() | {"credentialStatus": entries})), {LIST: sign(document)}


def extended(document: dict) -> dict:
    return document | {"@context": [*document["@context"], "https://purl.imsglobal.org/spec/ob/v3p0/extensions.json"]}


def by_plain_list() -> tuple[str, dict]:
    where = f"{ROOT}/revoked"
    status = {"id": where, "type": "1EdTechRevocationList"}
    entries = [{"id": f"{ROOT}/badges/{one}"} for one in range(9000)]
    return json.dumps(sign(extended(badge(credentialStatus=status)))), {
        where: {"issuer": DID, "revokedCredential": entries}
    }


def by_newer_version() -> tuple[str, dict]:
    where = f"{ROOT}/newer"
    document = extended(badge(refreshService={"id": where, "type": "1EdTechCredentialRefresh"}))
    return json.dumps(sign(document)), {where: heavy(count=500)}


def by_size() -> tuple[str, dict]:
    return heavy(count=1000).decode(), {}  # a good deal less than the budget: a busy machine takes it twice as long


def honest() -> tuple[str, dict]:
    return json.dumps(sign(transcript([sign(badge(one) | listed(one)) for one in range(8, 20)]))), {}


def in_tokens() -> tuple[str, dict]:
    return as_jwt(transcript([as_jwt(badge(one) | listed(one)) for one in range(8, 20)])), {}


MADE = [
    by_slow_keys,
    by_many_keys,
    by_many_members,
    by_plain_list,
    by_newer_version,
    by_size,
    honest,
    in_tokens,
]


@pytest.mark.parametrize("made", MADE)
async def test_nothing_of_a_strangers_document_is_computed_on_the_event_loop(made, monkeypatch) -> None:
    document, pages = made()
    verifier = Verifier(Limits(), Outside(Limits()))
    await verifier.verify(json.dumps(SIGNED).encode(), Elsewhere(), NOW, client="first")
    web = Elsewhere(**pages)
    web.pages = {
        name: page if isinstance(page, bytes) else json.dumps(page).encode() for name, page in web.pages.items()
    }
    with longest_step(monkeypatch) as steps, computed_here() as found:
        report = await verifier.verify(document.encode(), web, NOW, client="second")
    assert report.checks
    assert found == set()
    assert max(steps) < STEP_SECONDS


async def test_the_look_out_sees_what_is_computed_on_the_event_loop() -> None:
    """Of our own records signature and list are looked at here: what the test above would find."""
    verifier = Verifier(Limits(), Outside(Limits()))
    with computed_here() as found:
        await verifier.verify_own(json.dumps(sign(badge() | listed(4))).encode(), Elsewhere(), NOW)
    assert {
        "openbadges.verification.public_keys.verifies",
        "openbadges.status_lists._unpack",
    } <= found


async def test_a_list_of_thousands_of_members_is_no_list() -> None:
    document, pages = by_many_members()
    assert failures(await foreign.verify(document, Elsewhere(**pages))) == {"revocation_list": "list_unreadable"}


async def test_one_budget_covers_a_document_and_everything_it_refers_to() -> None:
    """Each of it takes less than half of what is allowed; together they take more."""
    where = f"{ROOT}/newer"
    parts = [sign(badge(one)) for one in range(60)]
    document = sign(extended(transcript(parts, refreshService={"id": where, "type": "1EdTechCredentialRefresh"})))
    pages = {where: sign(transcript(parts, validFrom="2026-07-02T09:00:00Z"))}
    alone = max([await costs(sign(transcript(parts))) for _ in range(3)])  # a shared processor is not always as fast
    limits = Limits(seconds=alone * 1.3)
    assert (await foreign.verify(sign(transcript(parts)), verifier=Verifier(limits, Outside(limits)))).verified
    with pytest.raises(TooCostly):
        await foreign.verify(document, Elsewhere(**pages), verifier=Verifier(limits, Outside(limits)))


async def costs(document: dict) -> float:
    """Seconds of a processor."""
    limits = Limits(slice_seconds=0.02)
    verifier = Verifier(limits, Outside(limits))
    spent: list[float] = []
    spend = Slot.spend

    async def note(slot: Slot, seconds: float) -> None:
        spent.append(seconds)
        await spend(slot, seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slot, "spend", note)
        await foreign.verify(document, verifier=verifier)
    return spent[-1]


# Who comes next


class Line:
    """Documents that compute for as many seconds as they say, a slice at a time; the clock stands still."""

    def __init__(self, **limits: float) -> None:
        self.slots = Slots(replace(Limits(workers=1, slice_seconds=0.25), **limits))
        self.ran: list[str] = []
        self.refused: list[str] = []

    async def work(self, name: str, size: int, seconds: float, *, steps: int = 1) -> None:
        try:
            with self.slots.of(b"{" + b" " * size) as slot:
                for _ in range(steps):
                    await slot.take()
                    used = 0.0
                    while used < seconds:
                        self.ran.append(name)
                        await asyncio.sleep(0)
                        used += min(self.slots.limits.slice_seconds, seconds - used)
                        await slot.spend(used)
                    slot.give()
                    await asyncio.sleep(0)  # fetching
        except VerifierBusy:
            self.refused.append(name)


async def test_a_small_document_waits_for_one_slice_of_large_ones() -> None:
    line = Line()
    crowd = [asyncio.create_task(line.work(f"large {one}", 216_000, 3)) for one in range(8)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    before = len(line.ran)
    await line.work("small", 5_000, 0.03, steps=3)
    assert line.ran[before:].count("small") == 3
    assert line.ran.index("small", before) <= before + 1
    assert sum(name != "small" for name in line.ran[before:]) <= 3, "a slice for each step, at most"
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert (line.slots.free, line.slots.waiting) == (1, [])


async def test_one_worker_is_left_to_what_takes_little() -> None:
    line = Line(workers=2)
    crowd = [asyncio.create_task(line.work(f"large {one}", 216_000, 3)) for one in range(4)]
    for _ in range(3):
        await asyncio.sleep(0)
    assert (line.slots.free, line.slots.long, len(line.slots.waiting)) == (1, 1, 3)
    with line.slots.of(b"{}") as small:
        assert not small.takes_long
        taking = asyncio.create_task(small.take())
        await asyncio.sleep(0)
        assert taking.done() or line.slots.free == 0
        await taking
        falling_back = asyncio.create_task(small.spend(0.3))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert line.slots.free == 1, "it takes long itself now"
        falling_back.cancel()
        await asyncio.wait({falling_back})
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert (line.slots.free, line.slots.long, line.slots.waiting) == (2, 0, [])


async def test_a_picture_that_holds_much_falls_back_as_it_computes() -> None:
    line = Line()
    with line.slots.of(b"\x89PNG" + bytes(1_000_000)) as slot:
        assert not slot.takes_long
        await slot.take()
        await slot.spend(2)
        assert (slot.cost, slot.takes_long, slot.computes_long) == (2, True, True)


async def test_what_came_long_ago_is_before_what_is_small() -> None:
    """So that a large one comes, too."""
    line = Line(ageing=0.001)
    blocker = asyncio.create_task(line.work("first", 10, 1))
    await asyncio.sleep(0)
    large = asyncio.create_task(line.work("large", 80_000, 0.25))
    await asyncio.sleep(0.05)
    small = asyncio.create_task(line.work("small", 10, 0.25))
    await asyncio.gather(blocker, large, small)
    assert line.ran.index("large") < line.ran.index("small")


async def test_where_all_places_are_taken_the_one_that_takes_most_makes_room() -> None:
    line = Line(waiting=4)
    crowd = [asyncio.create_task(line.work(f"large {one}", 200_000 + one, 1)) for one in range(4)]
    await asyncio.sleep(0)
    await line.work("larger", 300_000, 1)
    await line.work("small", 5_000, 0.03)
    await asyncio.gather(*crowd)
    assert line.refused == ["larger", "large 3"]
    assert set(line.ran) == {"large 0", "large 1", "large 2", "small"}


async def test_who_leaves_leaves_the_place_to_the_next() -> None:
    line = Line()
    crowd = [asyncio.create_task(line.work(str(one), 10, 0.25)) for one in range(6)]
    await asyncio.sleep(0)
    for one in (0, 1, 4):
        crowd[one].cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert [name for name in line.ran if name not in {"0", "1"}] == ["2", "3", "5"]
    assert (line.slots.free, line.slots.waiting, line.slots._taken) == (1, [], 0)


async def test_an_honest_badge_is_answered_while_eight_clients_send_the_largest_there_are() -> None:
    limits = Limits(workers=1)
    verifier = Verifier(limits, Outside(limits))
    await foreign.verify(SIGNED, verifier=verifier)
    slices: list[float] = []
    spend = Slot.spend

    async def note(slot: Slot, seconds: float) -> None:
        slices.append(seconds)
        await spend(slot, seconds)

    async def attack(client: int) -> None:
        count = 0
        while True:
            count += 1
            await foreign.verify(heavy(count), verifier=verifier, client=str(client))

    crowd = [asyncio.create_task(attack(one)) for one in range(8)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Slot, "spend", note)
        assert (await foreign.verify(SIGNED, verifier=verifier)).verified
        assert len(crowd) == 8 - sum(task.done() for task in crowd)
        for one in range(4):
            before = len(slices)
            document = sign(badge(one) | listed(4))
            assert (await foreign.verify(document, verifier=verifier)).verified
            assert len(slices) - before <= 5, "a slice for each of its steps: itself, the key, the list, the list's key"
    for task in crowd:
        task.cancel()
    await asyncio.gather(*crowd, return_exceptions=True)
    assert (verifier.sandbox_pool.slots.free, verifier.sandbox_pool.slots.waiting) == (1, [])
