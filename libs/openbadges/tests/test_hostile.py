"""Documents made to harm: each a clear answer, in bounded time and memory, and the next one is served."""

import asyncio
import json
import os
import signal
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from openbadges import baking, keys
from openbadges import testing as foreign
from openbadges.facts import facts_of
from openbadges.testing import (
    LIST,
    NOW,
    Elsewhere,
    as_jwt,
    badge,
    changed,
    failures,
    forged_jwt,
    heavy,
    listed,
    one_pixel,
    sign,
    transcript,
    verify,
)
from openbadges.verification.jose import NotToken
from openbadges.verification.limits import Limits
from openbadges.verification.outside import Outside
from openbadges.verification.parsing import TooCostly, TooManyParts
from openbadges.verification.plain_json import TooDeep
from openbadges.verification.reading import (
    CredentialTooLarge,
    DamagedImage,
    NoCredentialInImage,
    SeveralCredentialsInImage,
)
from openbadges.verification.slots import Slot, VerifierBusy, expected
from openbadges.verification.verifier import Verifier

SIGNED = sign(badge())


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def png(*chunks: bytes) -> bytes:
    plain = one_pixel()
    return plain[:33] + b"".join(chunks) + plain[33:]


def baked(text: bytes, flags: bytes = b"\0\0") -> bytes:
    return chunk(b"iTXt", baking.KEYWORD + b"\0" + flags + b"\0\0" + text)


# What is kept of our own


async def test_only_what_stands_in_our_records_is_kept_and_little_of_it() -> None:
    verifier = Verifier(replace(Limits(), kept_document_bytes=12_000, kept_document_seconds=5), Outside(Limits()))
    kept = verifier._records._kept
    given = json.dumps(sign(badge(**listed(4)))).encode()
    assert (await verify(given, verifier=verifier)).verified
    assert not kept, "nothing of a stranger's is"
    stranger = keys.LocalSigner(foreign.Ed25519PrivateKey.generate(), foreign.METHOD)
    lying = Elsewhere(**{LIST: foreign.status_list(signer=stranger)})
    await verifier.verify_own(given, lying, NOW)
    assert len(kept) == 1, "the list is not"
    for number in range(20):
        web = Elsewhere(**{LIST: foreign.status_list(3, name=f"{number}" * 1000)})
        assert (await verifier.verify_own(given, web, NOW)).verified
        assert sum(one.size for one in kept.values()) == verifier._records._kept_bytes <= 12_000
    assert len(kept) > 1
    huge = Elsewhere(**{LIST: foreign.status_list(3, name="x" * 13_000)})
    known = set(kept)
    assert (await verifier.verify_own(given, huge, NOW)).verified
    assert len(set(kept) - known) <= 1, "the badge itself, where it was let go meanwhile"
    for digest, one in kept.items():
        kept[digest] = replace(one, until=0)
    await verifier._records.parse(b"{}")
    assert (len(kept), verifier._records._kept_bytes) == (0, 0)


# Pictures


async def test_two_credentials_in_one_picture() -> None:
    text = json.dumps(SIGNED).encode()
    with pytest.raises(SeveralCredentialsInImage):
        await verify(png(baked(text), baked(text)))
    element = '<c:credential xmlns:c="https://purl.imsglobal.org/ob/v3p0" verify="a.b.c"/>'
    with pytest.raises(SeveralCredentialsInImage):
        await verify(f"<svg>{element}<g>{element}</g></svg>")
    with pytest.raises(SeveralCredentialsInImage):
        await verify(f"<svg>{element.replace('/>', '>e.f.g</c:credential>')}</svg>")


@pytest.mark.parametrize(
    ("picture", "refusal"),
    [
        (png(baked(zlib.compress(bytes(100_000_000)), b"\1\0")), CredentialTooLarge),
        (png(baked(b"not packed", b"\1\0")), DamagedImage),
        (png(baked(b"x", b"\2\0")), DamagedImage),
        (png(baked(b"x", b"\1\7")), DamagedImage),
        (png(chunk(b"iTXt", baking.KEYWORD + b"\0")), DamagedImage),
        (png(baked(b"x"))[:-3], DamagedImage),
        (png(baked(b"x")).replace(b"openbadgecredential", b"openbadgecredentiaL"), DamagedImage),
        (png(chunk(b"zTXt", baking.KEYWORD + b"\0\0" + zlib.compress(bytes(100_000_000)))), NoCredentialInImage),
        (png(chunk(b"tEXt", baking.KEYWORD + b"\0{}")), NoCredentialInImage),
        (png() + bytes(6_000_000), CredentialTooLarge),
        (b"\x89PNG\r\n\x1a\n" + b"\xff" * 100, DamagedImage),
    ],
    ids=["bomb", "not-packed", "flag", "method", "short", "cut", "crc", "ztxt-bomb", "text", "large", "nonsense"],
)
async def test_pictures_made_to_harm(picture, refusal) -> None:
    with pytest.raises(refusal):
        await verify(picture)


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    ("picture", "refusal"),
    [
        (f'<!DOCTYPE svg [<!ENTITY l0 "lol">{LAUGHS}]><svg>&l9;</svg>', DamagedImage),
        ('<!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>', DamagedImage),
        ('<!DOCTYPE svg SYSTEM "https://evil.example/x.dtd"><svg/>', DamagedImage),
        ("<svg>" * 100_000, DamagedImage),
        ("<svg>" + "<g>" * 50_000 + "</g>" * 50_000 + "</svg>", NoCredentialInImage),
        ('<?xml version="1.0" encoding="nonsense"?><svg/>', DamagedImage),
        ("<svg/>" + " " * 6_000_000, CredentialTooLarge),
    ],
    ids=["laughs", "file", "dtd", "open", "deep", "encoding", "large"],
)
async def test_drawings_made_to_harm(picture, refusal) -> None:
    with pytest.raises(refusal):
        await verify(picture)


# Graphs


def poison(count: int) -> dict:
    """Unnamed parts that all look alike and all know each other: distinguishing them takes factorial time."""
    document = badge()
    document["evidence"] = [
        {"id": f"_:e{one}", "type": ["Evidence"], "name": "x", "genre": "y"} for one in range(count)
    ]
    alike = [{"type": ["Alignment"], "targetName": "x", "targetUrl": "urn:x:y"} for _ in range(count)]
    document["credentialSubject"]["achievement"]["alignment"] = alike
    return document | {"proof": SIGNED["proof"]}


async def test_a_poison_graph() -> None:
    began = time.monotonic()
    report = await verify(poison(60))
    assert not report.verified
    assert time.monotonic() - began < 5
    assert {"not_canonical", "signature_mismatch", "undefined_terms"} & set(failures(report).values())


async def test_a_thousand_credentials_in_one() -> None:
    with pytest.raises(TooManyParts):
        await verify(as_jwt(transcript(["aa.bb.cc"] * 1000)))


async def test_a_hundred_credentials_in_one_are_each_checked() -> None:
    token = as_jwt(badge())
    report = await verify(as_jwt(transcript([token] * 100)))
    assert (report.verified, len(report.parts)) == (True, 100)


async def test_transcripts_within_transcripts() -> None:
    """The count is of all depths."""
    nested = as_jwt(transcript([as_jwt(badge())] * 12))
    report = await verify(as_jwt(transcript([nested] * 7)))
    assert report.verified
    with pytest.raises(TooManyParts):
        await verify(as_jwt(transcript([nested] * 9)))
    document = sign(badge())
    for number in range(8):
        document = transcript([document], id=f"urn:uuid:{number}", proof=SIGNED["proof"])
    with pytest.raises(TooDeep):
        await verify(document)


async def test_terms_under_terms_under_terms() -> None:
    deep: dict = {}
    for _ in range(20):
        deep = {"evidence": deep}
    assert not (await verify(changed(SIGNED, lambda d: d.update(deep)))).verified


@pytest.mark.parametrize(
    "value", [{"a": 1}, [[[]]], 5, None, True, "text", {"@id": "x"}, {"@value": "x"}, {"@set": []}, [None]]
)
@pytest.mark.parametrize("name", ["proof", "issuer", "credentialSubject", "credentialStatus", "refreshService", "type"])
async def test_any_shape_anywhere_gets_an_answer(name, value) -> None:
    documents = [changed(SIGNED, lambda d: d.update({name: value}))]
    if name != "proof":
        documents.append(sign_or_leave(badge(**{name: value})))
    for document in documents:
        report = await verify(document)
        assert not report.verified or value in ([None], None, [[[]]])
        facts_of(report.document, report.kind)  # and a page can be made of it


def sign_or_leave(document: dict) -> dict:
    try:
        return sign(document)
    except Exception:  # noqa: BLE001 - what we would not sign is handed in unsigned
        return document


# The bench


@pytest.fixture
def small() -> Verifier:
    limits = Limits(seconds=1, workers=1, waiting=2)  # half of what `heavy` takes on a fast machine
    return Verifier(limits, Outside(limits))


async def test_what_takes_too_long_is_ended_and_the_next_is_served(small, monkeypatch) -> None:
    spent: list[float] = []
    spend = Slot.spend

    async def note(place: Slot, seconds: float) -> None:
        spent.append(seconds)
        await spend(place, seconds)

    monkeypatch.setattr(Slot, "spend", note)
    with pytest.raises(TooCostly):
        await verify(heavy(), verifier=small)
    assert 0.5 < max(spent) < 1, "seconds of a processor"
    assert (await verify(SIGNED, verifier=small)).verified


async def test_what_no_handler_interrupts_is_ended_by_the_system(small, monkeypatch) -> None:
    """A step that takes long by itself: the limit on the processor's time is the operating system's."""
    limits = Limits(seconds=0.5, slice_seconds=1000)
    with pytest.raises(TooCostly):
        await verify(heavy(), verifier=Verifier(limits, Outside(limits)))


async def test_what_takes_too_much_memory_is_ended() -> None:
    limits = Limits(memory_bytes=350_000_000, document_bytes=60_000_000, values=10**9, seconds=20, workers=1)
    document = b'{"a": [' + b'{"b": []},' * 4_000_000 + b"1]}"
    with pytest.raises(TooCostly):
        await Verifier(limits, Outside(limits)).sandbox_pool.parse(document)


async def test_no_token_ends_the_process(small) -> None:
    await verify(SIGNED, verifier=small)
    process = small.forks.process
    for exp in (None, 1e300, 1e17, -1e17, 2**62, "x"):
        with pytest.raises(NotToken):
            await verify(forged_jwt({"vc": {}, "exp": exp}, {"alg": "ES256"}), verifier=small)
    for claims in ({"vc": {}, "nbf": [1]}, {"vc": {}, "nbf": 1e17}):
        with pytest.raises(NotToken):
            await verify(forged_jwt(claims, {"alg": "ES256"}), verifier=small)
    assert small.forks.process is process
    assert process.returncode is None


async def test_too_many_at_once_are_asked_to_come_again(small) -> None:
    answers = await asyncio.gather(
        *(verify(badge(number), verifier=small) for number in range(6)), return_exceptions=True
    )
    assert sum(isinstance(answer, VerifierBusy) for answer in answers) == 4


async def test_a_client_holds_one_place_however_much_it_sends() -> None:
    limits = Limits(seconds=20, workers=1, waiting=4)
    verifier = Verifier(limits, Outside(limits))
    await verify(SIGNED, verifier=verifier)
    ended: list[str] = []

    async def send(client: str, document: object) -> None:
        try:
            await verify(document, verifier=verifier, client=client)
        except VerifierBusy:
            ended.append(f"{client} asked to come again")
        else:
            ended.append(client)

    room = int(limits.waiting_of_one / expected(heavy(), limits))
    assert 1 < room < 6
    greedy = [asyncio.create_task(send("greedy", heavy(number))) for number in range(12)]
    await asyncio.sleep(0.1)
    await send("honest", SIGNED)
    assert ended == ["greedy asked to come again"] * (12 - room) + ["honest"]
    await asyncio.gather(*greedy)
    assert ended[13 - room :] == ["greedy"] * room
    assert verifier._client_queue._lines == {}


async def test_our_own_pages_wait_for_no_stranger() -> None:
    limits = Limits(seconds=20, workers=1, waiting=2)
    verifier = Verifier(limits, Outside(limits))
    own = json.dumps(SIGNED).encode()
    assert (await verifier.verify_own(own, Elsewhere(), NOW)).verified
    crowd = [asyncio.create_task(verify(heavy(number), verifier=verifier)) for number in range(8)]
    await asyncio.sleep(0.1)
    other = json.dumps(sign(badge(2))).encode()
    assert (await verifier.verify_own(other, Elsewhere(), NOW)).verified
    assert sum(task.done() for task in crowd) == 6, "of those, two are at work or in line"
    await asyncio.gather(*crowd, return_exceptions=True)


async def test_an_honest_document_on_a_busy_machine_is_not_too_costly() -> None:
    """What counts is the time of a processor, not of the clock."""
    limits = Limits(seconds=1, workers=1)
    verifier = Verifier(limits, Outside(limits))
    await verify(SIGNED, verifier=verifier)
    await no_copy_is_left_of(verifier.forks.process.pid)
    asked = asyncio.create_task(verify(heavy(count=150), verifier=verifier))
    pid = await copy_of(verifier.forks.process.pid)
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(2.5)
    os.kill(pid, signal.SIGCONT)
    assert failures(await asked) == {"proof": "signature_mismatch"}


async def copies_of(pid: int) -> list[int]:
    children = await asyncio.to_thread(Path(f"/proc/{pid}/task/{pid}/children").read_text)
    return [int(child) for child in children.split()]


async def copy_of(pid: int) -> int:
    """The process that works on the document that was handed in."""
    while True:
        if found := await copies_of(pid):
            return found[0]
        await asyncio.sleep(0.002)


async def no_copy_is_left_of(pid: int) -> None:
    """That of the document before ends a moment after its answer."""
    async with asyncio.timeout(10):
        while True:
            if not await copies_of(pid):
                return
            await asyncio.sleep(0.002)


async def test_who_has_left_costs_no_more_than_a_slice(small) -> None:
    await verify(SIGNED, verifier=small)
    await no_copy_is_left_of(small.forks.process.pid)
    asked = asyncio.create_task(verify(heavy(), verifier=small))
    pid = await copy_of(small.forks.process.pid)
    asked.cancel()
    await asyncio.wait({asked})
    assert await all_that_is_used_by(pid) < small.limits.slice_seconds + 0.2
    assert (await verify(SIGNED, verifier=small)).verified


async def all_that_is_used_by(pid: int) -> float:
    """Seconds of a processor, until the process ends."""
    used = 0.0
    while (now := await seconds_of(pid)) is not None:
        used = now
        await asyncio.sleep(0.02)
    return used


async def seconds_of(pid: int) -> float | None:
    """Of a processor; None once the process has ended."""
    try:
        fields = (await asyncio.to_thread(Path(f"/proc/{pid}/stat").read_text)).rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a_process_that_died_is_replaced(small) -> None:
    await verify(SIGNED, verifier=small)
    small.forks.process.kill()
    await small.forks.process.wait()
    assert (await verify(SIGNED, verifier=small)).verified


async def test_a_document_that_lost_its_process_is_not_called_costly(small) -> None:
    await verify(SIGNED, verifier=small)
    await no_copy_is_left_of(small.forks.process.pid)
    asked = asyncio.create_task(verify(heavy(), verifier=small))
    pid = await copy_of(small.forks.process.pid)
    small.forks.process.kill()
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(VerifierBusy):
        await asked
    assert (await verify(SIGNED, verifier=small)).verified


async def test_the_process_knows_no_secret_of_ours(small, monkeypatch) -> None:
    monkeypatch.setenv("MC_WRAPPING_KEY", "secret")
    monkeypatch.setenv("MC_DATABASE_URL", "secret")
    await verify(SIGNED, verifier=small)
    process = small.forks.process
    environment = await asyncio.to_thread(Path(f"/proc/{process.pid}/environ").read_bytes)
    assert b"secret" not in environment
    assert b"MC_" not in environment


async def test_the_processes_end_with_the_service(small) -> None:
    running = asyncio.create_task(small.run())
    await verify(SIGNED, verifier=small)
    asked = asyncio.create_task(verify(heavy(), verifier=small))
    process = small.forks.process
    pid = await copy_of(process.pid)
    asked.cancel()
    running.cancel()
    await asyncio.wait({running, asked})
    assert await process.wait() != 0
    assert await all_that_is_used_by(pid) < 1
