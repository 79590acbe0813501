"""An outside OpenID Connect issuer: its people sign in here without a password of ours."""

import asyncio
import time

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from gateway.adapters.oidc import EmailNotVerified, InvalidIdToken, IssuerAway, OutsideIssuer
from gateway.api.auth_settings import AuthSettings
from gateway.app import build
from shared.ids import new_id
from shared.testing.services import under_test

from .proxy_harness import gateway_settings

ISSUER, AUDIENCE, JWKS = "https://login.example.ac.uk", "microcredentials-web", "https://login.example.ac.uk/jwks"
KEY = rsa.generate_private_key(65537, 2048)


def id_token(key=KEY, *, header=None, **changes):
    now = int(time.time())
    claims = {
        "iss": ISSUER, "aud": AUDIENCE, "iat": now, "exp": now + 300, "sub": "ada-1",
        "email": "Ada@example.ac.uk", "email_verified": True,
    } | changes  # fmt: skip
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "rsa-1"} | (header or {}))


def jwks(request=None):
    jwk = RSAAlgorithm.to_jwk(KEY.public_key(), as_dict=True)
    return httpx.Response(200, json={"keys": [{**jwk, "kid": "rsa-1", "alg": "RS256", "use": "sig"}]})


async def test_its_id_token_names_a_person():
    async with httpx.AsyncClient(transport=httpx.MockTransport(jwks)) as http:
        identity = await OutsideIssuer(ISSUER, JWKS, AUDIENCE, http).identify(id_token())
    assert (identity.issuer, identity.subject, identity.email) == (ISSUER, "ada-1", "Ada@example.ac.uk")


@pytest.mark.parametrize(
    ("token", "error"),
    [
        (lambda: id_token(rsa.generate_private_key(65537, 2048)), InvalidIdToken),
        (lambda: id_token(iss="https://evil.example"), InvalidIdToken),
        (lambda: id_token(aud="another-app"), InvalidIdToken),
        (lambda: id_token(exp=int(time.time()) - 31), InvalidIdToken),
        (lambda: id_token(sub=None), InvalidIdToken),
        (lambda: id_token(header={"kid": "unknown"}), InvalidIdToken),
        (lambda: id_token(header={"typ": "at+jwt"}), InvalidIdToken),
        (lambda: jwt.encode({"sub": "a"}, "", algorithm="none"), InvalidIdToken),
        (lambda: jwt.encode({"sub": "a"}, "a" * 64, algorithm="HS256", headers={"kid": "rsa-1"}), InvalidIdToken),
        (lambda: "a" * 9000, InvalidIdToken),
        (lambda: "a.b.c", InvalidIdToken),
        (lambda: id_token(email_verified=False), EmailNotVerified),
        (lambda: id_token(email_verified="true"), EmailNotVerified),
        (lambda: id_token(email=None), EmailNotVerified),
    ],
)
async def test_anything_else_names_nobody(token, error):
    async with httpx.AsyncClient(transport=httpx.MockTransport(jwks)) as http:
        with pytest.raises(error):
            await OutsideIssuer(ISSUER, JWKS, AUDIENCE, http).identify(token())


async def test_known_keys_go_on_while_the_issuer_is_away():
    up = True

    def answer(request):
        return jwks() if up else unreachable(request)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http:
        issuer = OutsideIssuer(ISSUER, JWKS, AUDIENCE, http)
        await issuer.identify(id_token())
        up = False
        issuer._keys._fetched_at -= 4000
        issuer._keys._looked -= 4000
        await issuer.identify(id_token())
        with pytest.raises(IssuerAway):
            await issuer.identify(id_token(header={"kid": "another"}))  # who can tell whether it is theirs
        with pytest.raises(IssuerAway):
            await OutsideIssuer(ISSUER, JWKS, AUDIENCE, http).identify(id_token())


def unreachable(_request):
    raise httpx.ConnectError("away")


async def test_a_person_signs_in_and_keeps_one_account(make_database):
    def make(url):
        outside = {"oidc_issuer": ISSUER, "oidc_jwks_url": JWKS, "oidc_audience": AUDIENCE, "password_sign_in": False}
        return build(gateway_settings(url, **outside))

    async with under_test(make, make_database, f"oidc_{new_id().hex[-12:]}", every_response_documented=True) as tested:
        issuer = tested.service.resources[AuthSettings].outside
        issuer.http = httpx.AsyncClient(transport=httpx.MockTransport(unreachable))
        async with tested.client() as client:
            away = await client.post("/v1/sign-ins/outside", json={"id_token": id_token()})
            assert (away.status_code, away.json()["code"]) == (503, "issuer_away")
            await asyncio.sleep(int(away.headers["retry-after"]))
            issuer.http = httpx.AsyncClient(transport=httpx.MockTransport(jwks))
            first = await client.post("/v1/sign-ins/outside", json={"id_token": id_token()})
            assert first.status_code == 201, first.text
            moved = id_token(email="ada.lovelace@example.ac.uk")
            second = await client.post("/v1/sign-ins/outside", json={"id_token": moved})
            assert second.json()["account"]["account_id"] == first.json()["account"]["account_id"]
            taken = await client.post("/v1/sign-ins/outside", json={"id_token": id_token(sub="mallory")})
            assert (taken.status_code, taken.json()["code"]) == (409, "email_taken")
            for token, error in (
                (id_token(aud="another-app"), (401, "invalid_id_token")),
                (id_token(email_verified=False), (401, "email_not_verified")),
                (id_token(sub="grace", email="nowhere"), (422, "email_malformed")),
            ):
                refused = await client.post("/v1/sign-ins/outside", json={"id_token": token})
                assert (refused.status_code, refused.json()["code"]) == error
            password = {"email": "grace@example.org", "password": "nine brass engines humming"}
            for path in ("/v1/accounts", "/v1/sign-ins"):
                refused = await client.post(path, json=password)
                assert (refused.status_code, refused.json()["code"]) == (403, "passwords_not_offered")


async def test_without_one_there_is_no_such_sign_in(service, session):
    async with service.client() as client:
        answer = await client.post("/v1/sign-ins/outside", json={"id_token": id_token()})
    assert (answer.status_code, answer.json()["code"]) == (404, "no_outside_issuer")
