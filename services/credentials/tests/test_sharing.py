"""What a learner shows: links with a PIN and an end, and consents that partners fetch by."""

import asyncio
import hashlib
import hmac
import json
from datetime import timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from credentials.commands import awards
from credentials.exchange.api.shared_views import OpenedRecordView
from credentials.exchange.domain import sharing
from credentials.exchange.domain.sharing import ShareSecrets
from credentials.tables.keys import Signature, SigningKey
from credentials.tables.people import Person
from credentials.tables.sharing import Share, Viewing
from shared.events.credentials import ShareGranted, ShareRevoked, ShareViewed
from shared.events.enrolment import LearnerAnonymised
from shared.events.gateway import PartnerClosed
from shared.ids import new_id
from shared.messaging import RetryLater
from shared.secret_box import derive_key
from shared.testing.services import published

from .announcements import consume, hold_credit, let_time_work, named, registered, revoked
from .shares import FORM, READS, P, Q, body, consent, fetch, is_documented, know, link, redeem


@pytest.fixture
async def learner(service, session, clock):
    learner = new_id()
    await consume(session, registered(learner))
    await hold_credit(session, learner, DS=4)
    await let_time_work(service)
    await know(session, P, Q)
    return learner


async def test_a_partner_fetches_exactly_what_was_consented_until_the_consent_ends(
    service, session, clock, learner
) -> None:
    """T1: two of four credits for thirty days; on day 31 it is refused."""
    granted = await consent(service, learner, "DS01", "DS03")
    redeemed = await redeem(service, granted["code"])
    assert (redeemed.status_code, redeemed.json()["share_id"]) == (200, granted["share_id"])
    record = (await fetch(service, granted["share_id"])).json()["record"]
    assert [credit["course_code"] for credit in record["credits"]] == ["DS01", "DS03"]
    assert {credit["status"] for credit in record["credits"]} == {"ratified"}
    assert (record["awards"], "name" in record["holder"]) == ([], False)
    assert not {"mark", "attempt"} & record["credits"][0].keys()
    assert record["credits"][0]["module"]["skills"] == [
        {"name": "analyse data", "framework": "ESCO", "url": "http://data.europa.eu/esco/skill/1"}
    ]
    viewed = [event for event in await published(session) if isinstance(event, ShareViewed)]
    assert [(str(event.share_id), event.client_id) for event in viewed] == [(granted["share_id"], P)]
    async with service.client("learner", id=learner) as client:
        seen = (await client.get(f"/v1/shares/{granted['share_id']}/views")).json()["items"]
    assert [(one["viewer"], one["viewed_at"]) for one in seen] == [("partner", "2026-11-23T12:00:00Z")]

    clock.advance(days=29, hours=23)
    assert (await fetch(service, granted["share_id"])).status_code == 200
    clock.advance(hours=1)
    refused = await fetch(service, granted["share_id"])
    assert (refused.status_code, refused.json()["code"]) == (403, "share_expired")


async def test_a_withdrawn_consent_shows_nothing_a_second_later(service, session, clock, learner) -> None:
    """T2; that P is notified is tested with the webhooks."""
    granted = await consent(service, learner, "DS01")
    await redeem(service, granted["code"])
    assert (await fetch(service, granted["share_id"])).status_code == 200
    async with service.client("learner", id=learner) as client:
        withdrawn = await client.post(f"/v1/shares/{granted['share_id']}/withdrawal")
        assert (withdrawn.status_code, withdrawn.json()["state"]) == (200, "withdrawn")
        again = await client.post(f"/v1/shares/{granted['share_id']}/withdrawal")
        assert (again.status_code, again.json()["code"]) == (409, "already_withdrawn")
    clock.advance(seconds=1)
    refused = await fetch(service, granted["share_id"])
    assert (refused.status_code, refused.json()["code"]) == (403, "share_withdrawn")
    assert (await redeem(service, granted["code"])).json()["code"] == "share_withdrawn"
    announced = [event for event in await published(session) if isinstance(event, ShareRevoked)]
    assert [(str(event.share_id), event.client_id) for event in announced] == [(granted["share_id"], P)]


async def test_a_consent_is_one_partners(service, session, clock, learner) -> None:
    granted = await consent(service, learner, "DS01")
    stolen = await redeem(service, granted["code"], Q)
    assert (stolen.status_code, stolen.json()["code"]) == (404, "no_such_code")
    assert (await fetch(service, granted["share_id"])).status_code == 404  # not before the code was redeemed
    await redeem(service, granted["code"].lower().replace("-", " "))
    assert (await fetch(service, granted["share_id"], Q)).status_code == 404
    async with service.client(client_id=Q, scopes=READS) as other, service.client(client_id=P, scopes=READS) as own:
        assert (await other.get("/v1/shared-records")).json()["items"] == []
        assert [one["share_id"] for one in (await own.get("/v1/shared-records")).json()["items"]] == [
            granted["share_id"]
        ]


async def test_a_code_must_be_redeemed_before_it_is_old(service, session, clock, learner) -> None:
    granted = await consent(service, learner, "DS01", days=200)
    late = await consent(service, learner, "DS01", days=200)
    await redeem(service, granted["code"])
    clock.advance(days=30)
    assert (await redeem(service, granted["code"])).status_code == 200
    assert (await redeem(service, late["code"])).json()["code"] == "no_such_code"


async def test_marks_attempts_and_the_name_are_shown_only_where_consented(service, session, clock, learner) -> None:
    person = await session.get(Person, learner)
    person.legal_name = "Ada Lovelace"
    await session.flush()
    granted = await consent(service, learner, "DS01", with_marks=True, with_attempts=True, with_name=True)
    await redeem(service, granted["code"])
    record = (await fetch(service, granted["share_id"])).json()["record"]
    assert (record["credits"][0]["mark"], record["credits"][0]["attempt"]) == ("60", 1)
    assert record["holder"]["name"] == "Ada Lovelace"
    assert str(learner) not in json.dumps(record)


async def test_the_record_is_signed_and_tells_the_status_of_the_moment(service, session, clock, learner) -> None:
    granted = await consent(service, learner, "DS01", "DS02")
    await redeem(service, granted["code"])
    await consume(session, revoked(learner, "DS02"))
    answer = (await fetch(service, granted["share_id"])).json()
    assert {one["course_code"]: one["status"] for one in answer["record"]["credits"]} == {
        "DS01": "ratified",
        "DS02": "revoked",
    }
    key = (await session.scalars(select(SigningKey).where(SigningKey.suite == "eddsa-rdfc-2022"))).one()
    public = Ed25519PublicKey.from_public_bytes(key.public_key)
    signed = jwt.api_jws.decode_complete(answer["jws"], public, algorithms=["EdDSA"])
    assert signed["header"]["kid"] == key.verification_method
    assert json.loads(signed["payload"]) == answer["record"]
    assert hashlib.sha256(signed["payload"]).hexdigest() == answer["sha256"]
    again = (await fetch(service, granted["share_id"])).json()
    assert len({one["record"]["nonce"] for one in (answer, again)}) == 2
    assert all(len(bytes.fromhex(one["record"]["nonce"])) == 16 for one in (answer, again))


async def test_the_whole_record_takes_in_what_comes_later(service, session, clock, learner) -> None:
    granted = await consent(service, learner, whole_record=True)
    await redeem(service, granted["code"])
    await hold_credit(session, learner, MG=1)
    record = (await fetch(service, granted["share_id"])).json()["record"]
    assert sorted(credit["course_code"] for credit in record["credits"]) == ["DS01", "DS02", "DS03", "DS04", "MG01"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"credit_ids": []}, "nothing_shared"),
        ({"credit_ids": [str(new_id())]}, "unknown_credit"),
        ({"award_ids": [str(new_id())]}, "unknown_credit"),
        ({"days": 732}, "expiry_out_of_bounds"),
        ({"days": 3_000_000}, "expiry_out_of_bounds"),  # a year beyond the calendar
        ({"days": 2**31 - 1}, "expiry_out_of_bounds"),  # no number of days at all
        ({"days": 0}, "invalid_request"),
        ({"client_id": "mcp_nobody"}, "unknown_recipient"),
        ({"client_id": "mcp_deaf"}, "unknown_recipient"),
        ({"client_id": "mcp_closed"}, "unknown_recipient"),
        ({"recipient": "Acme"}, "invalid_request"),
        ({"pin": "1234"}, "invalid_request"),
        ({"purpose": "Bell \x07"}, "invalid_request"),
        ({"learner_id": str(new_id())}, "invalid_request"),
    ],
)
async def test_what_cannot_be_shared_is_refused_in_words(service, session, clock, learner, changes, code) -> None:
    await know(session, "mcp_deaf", scopes=("webhooks:manage",))
    await know(session, "mcp_closed")
    await consume(session, PartnerClosed(client_id="mcp_closed", closed_at=clock()))
    async with service.client("learner", id=learner) as client:
        answer = await client.post("/v1/shares", json=body(learner, "DS01", client_id=P) | changes)
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        listed = [one["client_id"] for one in (await client.get("/v1/recipients")).json()["items"]]
    assert listed == [Q, P]


async def test_another_learners_credit_and_shares_are_as_good_as_missing(service, session, clock, learner) -> None:
    granted = await consent(service, learner, "DS01")
    async with service.client("learner") as stranger:
        assert (await stranger.post("/v1/shares", json=body(learner, "DS01", client_id=P))).json()[
            "code"
        ] == "unknown_credit"
        for path in ("", "/views"):
            assert (await stranger.get(f"/v1/shares/{granted['share_id']}{path}")).status_code == 404
        assert (await stranger.post(f"/v1/shares/{granted['share_id']}/withdrawal")).status_code == 404
        assert (await stranger.get("/v1/shares")).json()["items"] == []


async def test_a_link_opens_by_a_form_and_a_look_at_its_gate_counts_for_nothing(
    service, session, clock, learner
) -> None:
    path = await link(service, learner, most_views=1)
    async with service.client() as anyone:
        gates = [await anyone.get(path, headers={"Accept": "text/html"}) for _ in range(3)]
        for gate in gates:
            assert (gate.status_code, "<form" in gate.text, "Course DS01" in gate.text) == (200, True, False)
        page = await anyone.post(path, content="", headers=FORM)
        assert (page.status_code, "Course DS01" in page.text, "<script" in page.text) == (200, True, False)
        for answer in (*gates, page):
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert "noindex" in answer.headers["X-Robots-Tag"]
            assert answer.headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        ended = await anyone.get(path)
        assert (ended.status_code, ended.json()["code"]) == (410, "link_ended")
        assert (await anyone.post(path, headers=FORM)).status_code == 410
        assert (await anyone.get("/shared/nothing")).status_code == 404
        assert "No such link" in (await anyone.get("/shared/nothing", headers={"Accept": "text/html"})).text
        assert (await anyone.post("/shared/nothing")).status_code == 404


async def test_a_link_opens_as_json_too(service, session, clock, learner) -> None:
    path = await link(service, learner, with_marks=True, with_name=True)
    async with service.client() as anyone:
        gate = (await anyone.get(path)).json()
        opened = (await anyone.post(path)).json()
    assert is_documented(opened, OpenedRecordView)
    assert gate == {"purpose": "Admission", "needs_pin": False, "expires_at": "2026-12-23T12:00:00Z"}
    assert [(one["course_code"], one["mark"]) for one in opened["record"]["credits"]] == [
        ("DS01", "60"),
        ("DS02", "60"),
    ]
    assert opened["record"]["credits"][0]["verification_url"].startswith("https://badges.example.ac.uk/verify/")


async def test_a_pin_is_asked_for_and_a_few_wrong_ones_lock_the_link(service, session, clock, learner) -> None:
    path = await link(service, learner, pin="4821")
    async with service.client() as anyone, service.client("learner", id=learner) as owner:
        assert (await anyone.get(path)).json()["needs_pin"] is True
        assert (await anyone.post(path)).json()["code"] == "pin_needed"
        assert (await anyone.post(path, json={"pin": "abcd"})).json()["code"] == "bad_form"
        assert (await anyone.post(path, content=b"\xff", headers=FORM)).json()["code"] == "bad_form"
        wrong = await anyone.post(path, json={"pin": "0000"})
        assert (wrong.status_code, wrong.json()["code"], wrong.json()["tries_left"]) == (403, "wrong_pin", 4)
        assert (await anyone.post(path, json={"pin": "4821"})).status_code == 200
        for announced in (
            "4 more tries are",
            "3 more tries are",
            "2 more tries are",
            "One more try is",
            "The link is locked now",
        ):
            page = await anyone.post(path, content="pin=9999", headers=FORM)
            assert (
                page.status_code,
                f"This is not the PIN of this link. {announced}" in " ".join(page.text.split()),
            ) == (
                403,
                True,
            )
        assert (await anyone.post(path, json={"pin": "4821"})).json()["code"] == "link_ended"
        (share,) = (await owner.get("/v1/shares")).json()["items"]
    assert (share["state"], share["views"], share["has_pin"]) == ("locked", 1, True)


async def test_a_withdrawn_or_expired_link_opens_nothing(service, session, clock, learner) -> None:
    first, second = await link(service, learner), await link(service, learner, days=1)
    async with service.client("learner", id=learner) as owner, service.client() as anyone:
        share = (await owner.get("/v1/shares")).json()["items"][1]
        await owner.post(f"/v1/shares/{share['share_id']}/withdrawal")
        assert (await anyone.post(first)).json()["code"] == "link_ended"
        assert (await anyone.post(second)).status_code == 200
        clock.advance(days=1)
        page = await anyone.get(second, headers={"Accept": "text/html"})
    assert (page.status_code, "has ended" in page.text) == (410, True)


async def test_secrets_are_kept_as_hashes(service, session, clock, learner) -> None:
    path = await link(service, learner, pin="4821")
    granted = await consent(service, learner, "DS01")
    rows = (await session.execute(text("select to_jsonb(shares)::text from shares"))).scalars().all()
    stored = (await session.execute(text("select body from idempotency_keys"))).scalars().all()
    everything = "".join([*rows, *(body.decode() for body in stored)])
    assert path.rpartition("/")[2] not in everything
    assert granted["code"] not in everything
    share = (await session.scalars(select(Share).where(Share.pin_hash.is_not(None)))).one()
    ours, others = service.service.resources[ShareSecrets], ShareSecrets(bytes(32))
    assert share.pin_hash.startswith(b"$argon2id$v=19$m=19456,t=2,p=1$")
    assert ours.pin_fits("4821", share.pin_hash, share.share_id)
    assert not ours.pin_fits("4822", share.pin_hash, share.share_id)
    assert not ours.pin_fits("4821", share.pin_hash, new_id())
    assert not others.pin_fits("4821", share.pin_hash, share.share_id)
    digests = set((await session.scalars(select(Share.secret_sha256))).all())
    assert digests == {ours.digest(path.rpartition("/")[2]), ours.digest(granted["code"])}


async def test_what_the_previous_release_stored_still_opens(service, session, clock, learner) -> None:
    path, granted = await link(service, learner, pin="4821"), await consent(service, learner, "DS01")
    key = derive_key(service.service.settings.wrapping_key_bytes(), "share pins")
    for share in await session.scalars(select(Share)):
        if share.pin_hash is None:
            share.secret_sha256 = hashlib.sha256(granted["code"].encode()).digest()
        else:
            share.secret_sha256 = hashlib.sha256(path.rpartition("/")[2].encode()).digest()
            salt = hmac.digest(key, f"share pin {share.share_id}".encode(), "sha256")
            share.pin_hash = hashlib.scrypt(b"4821", salt=salt, n=2**14, r=8, p=1)
    await session.commit()
    async with service.client() as anyone, service.client(client_id=P, scopes=READS) as partner:
        assert (await anyone.post(path, json={"pin": "4822"})).json()["code"] == "wrong_pin"
        assert (await anyone.post(path, json={"pin": "4821"})).status_code == 200
        assert (await partner.post("/v1/shared-records", json={"code": granted["code"]})).status_code == 200


async def test_who_looked_is_kept_from_changing(service, session, clock, learner) -> None:
    path = await link(service, learner)
    async with service.client() as anyone:
        await anyone.post(path)
    with pytest.raises(DBAPIError, match="append-only"):
        await session.execute(text("delete from viewings"))


async def test_a_share_tells_its_scope_when_granted(service, session, clock, learner) -> None:
    granted = await consent(service, learner, "DS01")
    (announced,) = [event for event in await published(session) if isinstance(event, ShareGranted)]
    assert (announced.client_id, announced.credit_ids) == (P, (named("credit", learner, "DS01"),))
    assert announced.expires_at - announced.granted_at == timedelta(days=30)
    assert granted["address"] is None


async def test_a_partner_that_closes_before_it_is_known_waits(service, session, clock) -> None:
    with pytest.raises(RetryLater):
        await consume(session, PartnerClosed(client_id="mcp_new", closed_at=clock()))


async def test_guesses_made_at_once_do_not_get_more_tries(live) -> None:
    """Real commits: the row is locked while a PIN is checked."""
    learner = new_id()
    async with live.process.database.transaction() as session:
        await consume(session, registered(learner))
        await hold_credit(session, learner, DS=2)
    path = await link(live, learner, pin="4821")
    async with live.client() as anyone:
        answers = await asyncio.gather(*(anyone.post(path, json={"pin": f"{n:04}"}) for n in range(8)))
        assert sorted(answer.status_code for answer in answers) == [403] * 5 + [410] * 3
        assert (await anyone.post(path, json={"pin": "4821"})).status_code == 410


def test_codes_are_read_however_they_are_typed() -> None:
    code = sharing.new_code()
    assert sharing.normal_code(f" {code.lower().replace('-', '')} ") == code
    assert sharing.normal_code("OIL0") == "0110"


async def test_an_erased_learners_words_go_and_the_view_log_stays(service, session, clock, learner) -> None:
    granted = await consent(service, learner, "DS01")
    await redeem(service, granted["code"])
    await fetch(service, granted["share_id"])
    path = await link(service, learner, pin="4821")
    await consume(session, LearnerAnonymised(learner_id=learner, anonymised_at=clock()))
    session.expire_all()
    assert (await fetch(service, granted["share_id"])).json()["code"] == "share_withdrawn"
    async with service.client() as anyone:
        assert (await anyone.get(path)).status_code == 404
    rows = (await session.scalars(select(Share).where(Share.learner_id == learner))).all()
    assert {(row.purpose, row.secret_sha256, row.pin_hash) for row in rows} == {("", None, None)}
    assert sorted(row.recipient for row in rows) == ["", f"University {P}"]
    assert len((await session.scalars(select(Viewing))).all()) == 1


async def test_a_record_is_signed_on_record(service, session, clock, learner) -> None:
    granted = await consent(service, learner, "DS01")
    await redeem(service, granted["code"])
    answer = (await fetch(service, granted["share_id"])).json()
    written = hashlib.sha256(answer["jws"].rpartition(".")[2].encode()).digest()
    kept = await session.get(Signature, written)
    assert kept.credential_id == f"urn:uuid:{granted['share_id']}"
    assert kept.verification_method == jwt.get_unverified_header(answer["jws"])["kid"]


async def test_an_award_that_is_shared_can_be_checked(service, session, clock, learner) -> None:
    award = await awards.claim_award(session, learner, "pgcert", "PGCert in Data Science", None)
    await awards.confer_award(session, award.award_id, by=new_id())
    await let_time_work(service)
    path = await link(service, learner, award_ids=[str(award.award_id)], with_name=True)
    async with service.client() as anyone:
        (shown,) = (await anyone.post(path)).json()["record"]["awards"]
        page = await anyone.post(path, headers=FORM)
        assert "badge_id" not in shown
        assert f'href="{shown["verification_url"]}"' in page.text
        checked = await anyone.get(shown["verification_url"].removeprefix("https://badges.example.ac.uk"))
        assert (checked.status_code, "PGCert in Data Science" in checked.text) == (200, True)
        badge = await anyone.get(shown["credential_url"].removeprefix("https://badges.example.ac.uk"))
        assert badge.json()["credentialSubject"]["achievement"]["name"] == "PGCert in Data Science"
