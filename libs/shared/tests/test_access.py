"""Who may do what: the table both ways, ownership, forged tokens, keys that rotate."""

import asyncio
import base64
import dataclasses
import json
import time
from collections import Counter
from datetime import timedelta

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import OKPAlgorithm

from shared import access, issuer_keys
from shared.access import InvalidToken, IssuerUnreachable, TokenVerifier
from shared.clock import system_clock
from shared.errors import Unavailable
from shared.ids import new_id
from shared.process import Process
from shared.testing.access import access_failures
from shared.testing.services import AUDIENCE, ISSUER, under_test
from shared.web import Router

from . import delivery
from .processes import service_of


@pytest.fixture(scope="module")
async def tested(make_database):
    async with under_test(lambda url: service_of("payments", url), make_database, "access") as made:
        made.service = dataclasses.replace(made.service, versions=delivery.VERSIONS)
        yield made


async def make_refund(tested, learner):
    async with tested.client("learner", id=learner) as caller:
        answer = await caller.post("/v1/refunds", json={"amount_minor": 49500})
    assert answer.status_code == 201
    return answer.json()["refund_id"]


async def test_everybody_the_table_admits_gets_in_and_nobody_else(tested):
    assert await access_failures(tested) == []


async def test_the_matrix_finds_an_operation_that_is_too_open_or_too_narrow(tested):
    tested.process.api.state.access = {
        **delivery.ACCESS,
        "list_refunds": access.staff("operator"),
        "read_terms": access.staff("operator"),
    }
    try:
        failures = await access_failures(tested)
    finally:
        tested.process.api.state.access = delivery.ACCESS
    assert {failure.split(" as ")[0] for failure in failures} == {"list_refunds", "read_terms"}


async def test_an_operation_without_a_row_or_a_row_without_an_operation_stops_the_start(tested):
    router = Router()

    @router.get("/v1/forgotten", operation_id="forget")
    async def forget() -> None: ...

    service = tested.service
    for wrong in (
        dataclasses.replace(service, routers=[*service.routers, router]),
        dataclasses.replace(service, access={**service.access, "gone": access.anyone()}),
    ):
        with pytest.raises(RuntimeError, match=r"forget|gone"):
            Process(wrong)


async def test_another_persons_object_is_like_none_at_all(tested):
    mine, other = new_id(), new_id()
    refund_id = await make_refund(tested, mine)
    async with tested.client("learner", id=other) as stranger, tested.client("learner", id=mine) as me:
        theirs = await stranger.get(f"/v1/refunds/{refund_id}")
        missing = await stranger.get(f"/v1/refunds/{new_id()}")
        assert (await me.get(f"/v1/refunds/{refund_id}")).status_code == 200
    assert theirs.status_code == missing.status_code == 404
    assert theirs.json()["code"] == missing.json()["code"]
    async with tested.client("finance", id=other) as staff:
        assert (await staff.get(f"/v1/refunds/{refund_id}")).status_code == 200
    async with tested.client("marker", id=mine) as me_in_another_role:
        assert (await me_in_another_role.get(f"/v1/refunds/{refund_id}")).status_code == 403


async def test_an_owned_operation_that_proves_nothing_fails_and_changes_nothing(tested):
    mine = new_id()
    refund_id = await make_refund(tested, mine)
    transport = httpx.ASGITransport(tested.process.app, raise_app_exceptions=False)
    async with tested.client("learner", id=mine) as me:
        me._transport = transport
        answer = await me.put(f"/v1/refunds/{refund_id}/amount", json={"amount_minor": 1})
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert (await me.get(f"/v1/refunds/{refund_id}")).json()["amount_minor"] == 49500


async def test_nobody_decides_about_themselves(tested):
    mine = new_id()
    refund_id = await make_refund(tested, mine)
    path, key = f"/v1/refunds/{refund_id}/approval", {"Idempotency-Key": "once"}
    async with tested.client("learner", "finance", id=mine) as own, tested.client("finance") as other:
        refused = await own.post(path)
        assert (refused.status_code, refused.json()["code"]) == (403, "own_approval")
        assert [(await other.post(path, headers=key)).status_code for _ in range(2)] == [200, 200]


async def test_an_operation_that_forgets_whose_matter_it_is_fails_and_changes_nothing(tested):
    refund_id = await make_refund(tested, new_id())
    async with tested.client("finance") as finance:
        finance._transport = httpx.ASGITransport(tested.process.app, raise_app_exceptions=False)
        answer = await finance.post(f"/v1/refunds/{refund_id}/doubling")
        assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
        assert (await finance.get(f"/v1/refunds/{refund_id}")).json()["amount_minor"] == 49500


async def test_an_operation_of_staff_that_says_nothing_about_their_own_matter_stops_the_start(tested):
    silent = dataclasses.replace(tested.service, access={**delivery.ACCESS, "approve_refund": access.staff("finance")})
    with pytest.raises(RuntimeError, match="approve_refund"):
        Process(silent)


async def test_no_header_but_authorization_says_who_is_calling(tested):
    async with tested.client() as stranger:
        answer = await stranger.get(
            "/v1/refunds", headers={"X-User-Id": str(new_id()), "X-Roles": "finance", "X-Forwarded-User": "root"}
        )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_a_partner_without_the_scope_and_a_person_are_kept_apart(tested):
    async with tested.client(client_id="leeds", scopes=("refunds:read",)) as partner:
        assert (await partner.get("/v1/refunds")).status_code == 200
        answer = await partner.post("/v1/refunds", json={"amount_minor": 1})
        assert (answer.status_code, answer.json()["code"]) == (403, "not_permitted")


# --- forged tokens ------------------------------------------------------------------------------------------


def b64(value):
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def good(**changed):
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 600, "sub": str(new_id()), "roles": ["finance"]}
    claims |= {"jti": str(new_id())} | changed
    return {name: value for name, value in claims.items() if value is not None}


def forged_tokens(issuer):
    """What an attacker, a confused client or another issuer might send; none of it is ours."""
    key, kid = issuer._key, issuer.kid
    stranger = Ed25519PrivateKey.generate()
    now = int(time.time())

    def sign(claims, by=key, **header):
        headers = {"typ": "at+jwt", "kid": kid} | header
        headers = {name: value for name, value in headers.items() if value is not None}
        signing_input = f"{b64({'alg': 'EdDSA', **headers})}.{b64(claims)}"
        return f"{signing_input}.{b64(by.sign(signing_input.encode()))}"

    real = sign(good())
    head, payload, signature = real.split(".")
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    hmac_input = f"{b64({'alg': 'HS256', 'typ': 'at+jwt', 'kid': kid})}.{b64(good())}"
    jwk = json.loads(OKPAlgorithm.to_jwk(stranger.public_key()))
    return {
        "alg none": f"{b64({'alg': 'none', 'typ': 'at+jwt', 'kid': kid})}.{b64(good())}.",
        "alg None with the old signature": f"{b64({'alg': 'None', 'typ': 'at+jwt', 'kid': kid})}.{payload}.{signature}",
        "HS256 with the public key": hmac_input + "." + b64(_hmac(public, hmac_input)),
        "HS256 with the raw public key": hmac_input + "." + b64(_hmac(key.public_key().public_bytes_raw(), hmac_input)),
        "another's signature": sign(good(), by=stranger),
        "its own key in the header": sign(good(), by=stranger, jwk=jwk),
        "a key address in the header": sign(good(), by=stranger, jku="http://evil.example/keys", kid="evil"),
        "a changed payload": f"{head}.{b64(good(roles=['operator']))}.{signature}",
        "no signature": f"{head}.{payload}.",
        "half a signature": real[:-40],
        "wrong audience": sign(good(aud="somebody-else")),
        "audience in a list": sign(good(aud=[AUDIENCE, "somebody-else"])),
        "wrong issuer": sign(good(iss="http://evil.example")),
        "issuer with a slash": sign(good(iss=f"{ISSUER}/")),
        "an id token": sign(good(), typ="JWT"),
        "no type": sign(good(), typ=None),
        "a path as kid": sign(good(), kid="../../../../dev/null"),
        "SQL as kid": sign(good(), kid="' or 1=1 --"),
        "a list as kid": sign(good(), kid=[kid]),
        "no kid": sign(good(), kid=None),
        "no expiry": sign(good(exp=None)),
        "expired beyond the leeway": sign(good(exp=now - 31)),
        "expiry in a thousand years": sign(good(exp=now + 10**10)),
        "valid for longer than ten minutes": sign(good(exp=now + 3600)),
        "not valid yet": sign(good(nbf=now + 3600)),
        "issued in the future": sign(good(iat=now + 3600, exp=now + 4000)),
        "a critical extension": sign(good(), crit=["exp"]),
        "unencoded payload": sign(good(), b64=False, crit=["b64"]),
        "a megabyte": sign(good(padding="x" * 1_000_000)),
        "two signatures": real + "." + signature,
        "five parts, as if encrypted": ".".join([head, payload, signature, signature, signature]),
        "JSON serialisation": json.dumps(
            {"payload": payload, "signatures": [{"protected": head, "signature": signature}]}
        ),
        "no subject": sign(good(sub=None)),
        "a subject that is no account": sign(good(sub="root")),
        "claims that are a list": sign([1]),
        "claims that are no JSON": sign(b"{"),
        "an expiry that is no number": sign(good(exp="tomorrow")),
        "an expiry that is not a number": sign(good(exp=float("nan"))),
        "an endless life": sign(good(exp=float("inf"))),
        "an endless expiry": sign(b'{"exp":Infinity,"iat":1,"sub":"x","iss":"i","aud":"a"}'),
        "not a token": "hello",
        "dots": "...",
        "a NUL": "\x00",
        "half a character": "é.é.é",
    }


def _hmac(key, message):
    import hashlib
    import hmac

    return hmac.digest(key, message.encode(), hashlib.sha256)


async def test_every_forged_token_is_401_and_reaches_no_handler(tested):
    tokens = forged_tokens(tested.issuer)
    assert len(tokens) >= 20
    wrong = {}
    async with tested.client() as caller:
        for name, token in tokens.items():
            answer = await caller.get("/v1/refunds", headers={"Authorization": b"Bearer " + token.encode()})
            if answer.status_code != 401 or answer.json()["code"] != "invalid_token":
                wrong[name] = answer.text
            # A public operation is no way in either: who shows a token shows a good one.
            if (await caller.get("/v1/terms", headers={"Authorization": b"Bearer " + token.encode()})).is_success:
                wrong[f"{name}, on a public operation"] = "let in"
        real = tested.issuer.token("finance")
        assert (await caller.get("/v1/refunds", headers={"Authorization": f"bearer {real}"})).status_code == 200
        for scheme in ("", "Basic ", "Bearer", "Bearer  "):
            headers = {"Authorization": f"{scheme}{'' if scheme.startswith('Bearer') else real}"}
            assert (await caller.get("/v1/refunds", headers=headers)).status_code == 401
    assert wrong == {}


@pytest.mark.parametrize(
    ("seconds", "valid"), [(-25, True), (-31, False)]
)  # the machine may take some until it is read
async def test_clocks_may_differ_by_half_a_minute(tested, seconds, valid):
    now = int(time.time())
    claims = good(exp=now + seconds, iat=now - 300)
    token = jwt.encode(
        claims, tested.issuer._key, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": tested.issuer.kid}
    )
    async with tested.client() as caller:
        answer = await caller.get("/v1/refunds", headers={"Authorization": f"Bearer {token}"})
    assert answer.is_success == valid


async def test_a_verified_token_is_looked_at_again_when_it_has_expired(tested, monkeypatch):
    token = tested.issuer.token("finance")
    async with tested.client() as caller:
        caller.headers["Authorization"] = f"Bearer {token}"
        assert (await caller.get("/v1/refunds")).status_code == 200
        later = system_clock() + timedelta(seconds=631)
        monkeypatch.setattr(tested.process.verifier, "clock", lambda: later)
        assert (await caller.get("/v1/refunds")).status_code == 401


# --- keys ---------------------------------------------------------------------------------------------------


class Keys:
    """An issuer whose keys can be changed, and which can be away."""

    def __init__(self):
        self.keys, self.fetched, self.away = {}, 0, False

    def add(self, kid):
        self.keys[kid] = Ed25519PrivateKey.generate()

    def token(self, kid, key=None):
        return jwt.encode(good(), key or self.keys[kid], algorithm="EdDSA", headers={"typ": "at+jwt", "kid": kid})

    async def fetch(self):
        self.fetched += 1
        if self.away:
            raise httpx.ConnectError("away")
        return {
            "keys": [
                {**json.loads(OKPAlgorithm.to_jwk(key.public_key())), "kid": kid} for kid, key in self.keys.items()
            ]
        }


@pytest.fixture
def clock(monkeypatch):
    class Monotonic:
        now = 1000.0

    monkeypatch.setattr(issuer_keys.time, "monotonic", lambda: Monotonic.now)
    return Monotonic


@pytest.fixture
def keys():
    made = Keys()
    made.add("old")
    return made


async def test_a_new_key_works_at_once_and_an_old_one_until_it_is_withdrawn(keys, clock):
    verifier = TokenVerifier(ISSUER, AUDIENCE, keys.fetch)
    old = keys.token("old")
    await verifier.verify(old)
    keys.add("new")
    clock.now += issuer_keys.COOL_DOWN_SECONDS + 0.1
    await verifier.verify(keys.token("new"))
    await verifier.verify(old)
    del keys.keys["old"]
    clock.now += access.KEYS_MAX_AGE_SECONDS + 0.1
    await verifier.verify(keys.token("new"))
    with pytest.raises(InvalidToken):
        await verifier.verify(old)


async def test_a_thousand_unknown_keys_cause_few_fetches_and_hold_up_few(keys, monkeypatch):
    monkeypatch.setattr(issuer_keys, "COOL_DOWN_SECONDS", 0.2)
    verifier = TokenVerifier(ISSUER, AUDIENCE, keys.fetch)
    stranger = Ed25519PrivateKey.generate()
    asked = [verifier.verify(keys.token(f"unknown-{n}", stranger)) for n in range(1000)]
    await verifier.verify(keys.token("old"))  # the pause after it is what they meet
    answers = Counter(type(answer) for answer in await asyncio.gather(*asked, return_exceptions=True))
    assert answers.total() == answers[InvalidToken] + answers[IssuerUnreachable] == 1000
    # A fetch that ends while they still come makes room for a few more.
    assert issuer_keys.MOST_WAITING <= answers[InvalidToken] <= 2 * issuer_keys.MOST_WAITING
    assert keys.fetched <= 3
    await verifier.verify(keys.token("old"))


async def test_a_key_made_since_the_last_look_is_waited_for(keys, monkeypatch):
    monkeypatch.setattr(issuer_keys, "COOL_DOWN_SECONDS", 0.3)
    verifier = TokenVerifier(ISSUER, AUDIENCE, keys.fetch)
    await verifier.verify(keys.token("old"))
    began = time.monotonic()
    with pytest.raises(InvalidToken):
        await verifier.verify(keys.token("unknown", Ed25519PrivateKey.generate()))
    keys.add("new")
    await asyncio.gather(*(verifier.verify(keys.token("new")) for _ in range(20)))
    assert 0.5 < time.monotonic() - began < 3
    assert keys.fetched == 3


async def test_an_issuer_that_never_answers_holds_nobody_up_for_long(keys, monkeypatch):
    monkeypatch.setattr(issuer_keys, "FETCH_SECONDS", 0.2)
    verifier = TokenVerifier(ISSUER, AUDIENCE, keys.fetch)
    old = keys.token("old")
    await verifier.verify(old)
    monkeypatch.setattr(verifier, "fetch_keys", asyncio.Event().wait)
    verifier._keys._fetched_at -= access.KEYS_MAX_AGE_SECONDS
    verifier._keys._looked -= access.KEYS_MAX_AGE_SECONDS
    verifier._keys._asked -= access.KEYS_MAX_AGE_SECONDS
    began = time.monotonic()
    await asyncio.gather(*(verifier.verify(old) for _ in range(100)))
    assert time.monotonic() - began < 1
    with pytest.raises(IssuerUnreachable):
        await verifier.verify(keys.token("new", Ed25519PrivateKey.generate()))


async def test_a_set_without_keys_tells_nothing_about_a_token(keys):
    async def nothing_yet():
        return {"keys": []}

    with pytest.raises(IssuerUnreachable):
        await TokenVerifier(ISSUER, AUDIENCE, nothing_yet).verify(keys.token("old"))


async def test_while_the_issuer_is_away_the_known_keys_go_on_and_it_is_not_asked_all_the_time(keys, clock):
    verifier = TokenVerifier(ISSUER, AUDIENCE, keys.fetch)
    await verifier.verify(keys.token("old"))
    keys.away = True
    clock.now += access.KEYS_MAX_AGE_SECONDS + 0.1
    for _ in range(100):
        await verifier.verify(keys.token("old"))
    with pytest.raises(IssuerUnreachable):  # it may be theirs
        await verifier.verify(keys.token("new", Ed25519PrivateKey.generate()))
    assert keys.fetched == 2


async def test_an_issuer_that_was_never_reached_is_503_and_not_asked_by_every_request(keys, clock):
    class Unreachable(Unavailable):
        pass

    async def fetch():
        keys.fetched += 1
        if keys.away:
            raise Unreachable("the issuer is away")
        keys.fetched -= 1
        return await keys.fetch()

    keys.away = True
    verifier = TokenVerifier(ISSUER, AUDIENCE, fetch)
    for _ in range(100):
        with pytest.raises(Unavailable):
            await verifier.verify(keys.token("old"))
    assert keys.fetched <= 2
    keys.away = False
    clock.now += issuer_keys.COOL_DOWN_SECONDS + 0.1
    await verifier.verify(keys.token("old"))


async def test_the_cache_of_verified_tokens_is_bounded(keys, monkeypatch):
    monkeypatch.setattr(access, "CACHED_TOKENS", 10)
    verifier = TokenVerifier(ISSUER, AUDIENCE, keys.fetch)
    for _ in range(30):
        await verifier.verify(keys.token("old"))
    assert len(verifier._verified) == 10


@pytest.mark.parametrize("roles", [None, 5, "learner", {"learner": True}, True])
async def test_a_token_whose_roles_are_no_list_is_none(tested, roles):
    """Signed with our own key, by another release."""
    issuer = tested.issuer
    claims = jwt.decode(issuer.token("learner"), options={"verify_signature": False}) | {"roles": roles}
    token = jwt.encode(claims, issuer._key, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": issuer.kid})
    async with tested.client() as stranger:
        answer = await stranger.get(f"/v1/refunds/{new_id()}", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
