"""Forged tokens are refused at the door; no service ever sees one."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections import Counter

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from shared.issuer_keys import COOL_DOWN_SECONDS, MOST_WAITING
from shared.testing.services import AUDIENCE, ISSUER

from .proxy_harness import front_door


def encode(value) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def claims(**changes):
    now = int(time.time())
    whole = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + 600,
        "sub": "0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d",
    }
    return {name: value for name, value in (whole | {"roles": ["operator"]} | changes).items() if value is not None}


def signed(issuer, header=None, **changes):
    headers = {"typ": "at+jwt", "kid": "test"} | (header or {})
    return jwt.encode(claims(**changes), issuer._key, algorithm="EdDSA", headers=headers)


def hs256_with_the_public_key(issuer):
    public = issuer._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing = f"{encode({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'test'})}.{encode(claims())}"
    return f"{signing}.{encode(hmac.digest(public, signing.encode(), hashlib.sha256))}"


def unsigned(algorithm):
    return lambda _: f"{encode({'alg': algorithm, 'typ': 'at+jwt', 'kid': 'test'})}.{encode(claims())}."


def by_another_key(_):
    key = Ed25519PrivateKey.generate()
    return jwt.encode(claims(), key, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": "test"})


def by_its_own_jwk(_):
    key = Ed25519PrivateKey.generate()
    x = encode(key.public_key().public_bytes_raw())
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": x}
    return jwt.encode(claims(), key, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": "test", "jwk": jwk})


def by_rsa(_):
    key = rsa.generate_private_key(65537, 2048)
    return jwt.encode(claims(), key, algorithm="RS256", headers={"typ": "at+jwt", "kid": "test"})


def tampered(issuer):
    header, _, signature = signed(issuer).split(".")
    return f"{header}.{encode(claims(sub='somebody-else'))}.{signature}"


FORGED = {
    "alg none": unsigned("none"),
    "alg None": unsigned("None"),
    "no signature": unsigned("EdDSA"),
    "HS256 with the public key": hs256_with_the_public_key,
    "RS256": by_rsa,
    "another key, our kid": by_another_key,
    "its own jwk": by_its_own_jwk,
    "jku": lambda i: signed(i, {"jku": "https://evil.example/jwks", "kid": "evil"}),
    "kid path": lambda i: signed(i, {"kid": "../../../dev/null"}),
    "kid SQL": lambda i: signed(i, {"kid": "' or '1'='1"}),
    "crit": lambda i: signed(i, {"crit": ["exp"]}),
    "typ JWT (an ID token)": lambda i: signed(i, {"typ": "JWT"}),
    "no typ": lambda i: signed(i, {"typ": None}),
    "wrong iss": lambda i: signed(i, iss="https://evil.example"),
    "iss with a slash more": lambda i: signed(i, iss=ISSUER + "/"),
    "wrong aud": lambda i: signed(i, aud="another"),
    "aud among others": lambda i: signed(i, aud=[AUDIENCE, "another"]),
    "no aud": lambda i: signed(i, aud=None),
    "no exp": lambda i: signed(i, exp=None),
    "no sub": lambda i: signed(i, sub=None),
    "expired 31 s ago": lambda i: signed(i, exp=int(time.time()) - 31),
    "exp is text": lambda i: signed(i, exp="never"),
    "not before the future": lambda i: signed(i, nbf=int(time.time()) + 3600),
    "issued in the future": lambda i: signed(i, iat=int(time.time()) + 3600),
    "tampered": tampered,
    "two signatures": lambda i: signed(i) + "." + signed(i).split(".")[2],
    "six parts": lambda i: signed(i) + "." + signed(i),
    "empty": lambda _: "",
    "dots": lambda _: "..",
    "no JSON": lambda _: "a.b.c",
    "not ASCII": lambda _: "\xe9\xe9\xe9",
    "10 KB": lambda i: signed(i, more="a" * 10_000),
    "nested JSON": lambda _: f"{encode(b'[' * 2000)}.{encode(claims())}.{encode(b'a')}",
}


@pytest.fixture(scope="module")
async def door():
    async with front_door() as door:
        yield door


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_refused_and_reaches_nobody(door, name):
    token = FORGED[name](door.issuer)
    answer = await door.get("/v1/courses", f"Authorization: Bearer {token}")
    assert answer.status == 401, answer.raw
    assert answer.code == "invalid_token"
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert door.service.seen == []


async def test_a_good_token_passes_and_no_token_is_the_services_business():
    async with front_door() as door:
        token = signed(door.issuer, exp=int(time.time()) - 29)  # within the leeway
        assert (await door.get("/v1/courses", f"Authorization: bearer {token}")).status == 200
        assert (await door.get("/v1/courses")).status == 200
        assert door.service.seen[0].headers["authorization"] == [f"bearer {token}"]


async def test_a_remembered_token_still_expires():
    async with front_door() as door:
        token = f"Authorization: Bearer {signed(door.issuer, exp=int(time.time()) - 28)}"
        assert (await door.get("/v1/courses", token)).status == 200
        deadline = time.time() + 4
        while (answer := await door.get("/v1/courses", token)).status == 200 and time.time() < deadline:
            time.sleep(0.2)  # noqa: ASYNC251 - nothing else is to happen
        assert answer.code == "invalid_token"


async def test_any_number_of_unknown_keys_cost_the_issuer_next_to_nothing():
    async with front_door() as door:
        fetched = 0
        fetch = door.verifier.fetch_keys

        async def counted():
            nonlocal fetched
            fetched += 1
            return await fetch()

        door.verifier.fetch_keys = counted
        started = time.monotonic()
        tokens = (signed(door.issuer, {"kid": f"unknown-{n}"}) for n in range(300))
        answers = await asyncio.gather(*(door.get("/v1/courses", f"Authorization: Bearer {one}") for one in tokens))
        cool_downs = (time.monotonic() - started) / COOL_DOWN_SECONDS
    codes = Counter((answer.status, answer.code) for answer in answers)
    assert set(codes) <= {(401, "invalid_token"), (503, "issuer_unreachable")}
    assert codes[401, "invalid_token"] >= MOST_WAITING  # the rest was not held up: nobody could look for them
    assert fetched <= 1 + cool_downs


async def test_a_good_token_of_a_new_key_is_never_refused_whoever_else_asks_for_unknown_ones():
    """Two rotations between two looks, and a stranger who sends names that do not exist."""
    async with front_door() as door:
        assert (await door.get("/v1/courses", f"Authorization: Bearer {signed(door.issuer)}")).status == 200
        stop = asyncio.Event()

        async def stranger():
            number = 0
            while not stop.is_set():
                number += 1
                await door.get("/v1/courses", f"Authorization: Bearer {signed(door.issuer, {'kid': f'no-{number}'})}")
                await asyncio.sleep(0.05)

        strangers = [asyncio.create_task(stranger()) for _ in range(3)]
        statuses = Counter()
        for rotation in range(3):
            await asyncio.sleep(0.3)
            door.issuer.kid = f"rotated-{rotation}"
            token = f"Authorization: Bearer {signed(door.issuer, {'kid': door.issuer.kid})}"
            statuses.update([(await door.get("/v1/courses", token)).status for _ in range(5)])
        stop.set()
        await asyncio.gather(*strangers)
    assert statuses == {200: 15}


async def test_guessing_tokens_is_charged_to_the_guesser():
    async with front_door(rates={"anonymous": (3, 60)}) as door:
        answers = [(await door.get("/v1/courses", "Authorization: Bearer a.b.c")).status for _ in range(5)]
    assert answers == [401, 401, 401, 429, 429]
