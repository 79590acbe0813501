"""Whose key is it: every kind of issuer, and every way in which a key is not the issuer's."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import sha256, sha384
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from openbadges import dids, json_ld, keys, proofs
from openbadges import testing as foreign
from openbadges.testing import DID, NOW, ROOT, Elsewhere, as_jwt, badge, changed, failures, sign, verify
from openbadges.verification.limits import Limits
from openbadges.verification.outside import Outside, Unreachable
from openbadges.verification.report import Status
from openbadges.verification.verifier import Verifier

SET = f"{ROOT}/.well-known/jwks.json"


def did_key() -> tuple[str, keys.Signer]:
    did = f"did:key:{foreign.MULTIKEY}"
    return did, keys.LocalSigner(foreign.ED, f"{did}#{foreign.MULTIKEY}")


async def test_an_issuer_that_is_a_key() -> None:
    did, signer = did_key()
    web = Elsewhere()
    assert (await verify(sign(badge(issuer=did), signer), web)).verified
    assert web.asked == []
    for kid in (signer.verification_method, did, f"#{foreign.MULTIKEY}", foreign.MULTIKEY):
        assert (await verify(as_jwt(badge(issuer=did), "EdDSA", claims={"iss": did}, kid=kid))).verified, kid
    other = dids.multikey(bytes(32))
    for kid in (other, f"{did}#{other}"):
        token = as_jwt(badge(issuer=did), "EdDSA", claims={"iss": did}, kid=kid)
        assert failures(await verify(token)) == {"issuer": "key_not_of_issuer"}, kid
    forged = badge(issuer=f"did:key:{other}")
    assert failures(await verify(sign(forged, signer))) == {"issuer": "key_not_of_issuer"}


async def test_an_issuer_that_is_a_jwk() -> None:
    encoded = urlsafe_b64encode(json.dumps(foreign.jwk("ES256")).encode()).decode().rstrip("=")
    did = f"did:jwk:{encoded}"
    token = as_jwt(badge(issuer=did), kid=f"{did}#0", claims={"iss": did})
    assert (await verify(token)).verified
    assert failures(await verify(as_jwt(badge(issuer=did), "RS256", kid=f"{did}#0", claims={"iss": did}))) == {
        "proof": "signature_mismatch"
    }
    for nonsense in ("did:jwk:", "did:jwk:e30", "did:jwk:!!", "did:key:", "did:key:z6Mk", "did:key:zzzzz"):
        got = await verify(as_jwt(badge(issuer=nonsense), kid=f"{nonsense}#0", claims={"iss": nonsense}))
        assert failures(got) == {"issuer": "key_unusable"}


async def test_a_key_named_by_its_kid_or_in_a_set_of_the_same_host() -> None:
    document = foreign.did_document()
    document["verificationMethod"][1]["publicKeyJwk"]["kid"] = "2026"
    web = Elsewhere(
        **{f"{ROOT}/.well-known/did.json": document, f"{ROOT}/jwks": {"keys": [foreign.jwk("ES256", kid="2026")]}}
    )
    for kid in ("2026", "#ES256", f"{ROOT}/jwks#2026", f"{ROOT}/jwks"):
        assert (await verify(as_jwt(badge(), kid=kid), web)).verified, kid
    for kid in ("2025", "#other", f"{ROOT}/jwks#2025", None):
        assert failures(await verify(as_jwt(badge(), kid=kid), web)) == {"issuer": "key_not_of_issuer"}, kid
    https = badge(issuer=f"{ROOT}/issuer")
    published = Elsewhere(**{f"{ROOT}/.well-known/jwks.json": {"keys": [foreign.jwk("ES256", kid="2026")]}})
    assert (await verify(as_jwt(https, kid="2026", claims={"iss": f"{ROOT}/issuer"}), published)).verified


async def test_small_rsa_keys_prove_nothing() -> None:
    weak = foreign.rsa.generate_private_key(public_exponent=65537, key_size=1024)
    public = foreign.get_default_algorithms()["RS256"].to_jwk(weak.public_key(), as_dict=True)
    document = foreign.did_document()
    document["verificationMethod"][2]["publicKeyJwk"] = public
    token = as_jwt(badge(), "RS256")
    got = await verify(token, Elsewhere(**{f"{ROOT}/.well-known/did.json": document}))
    assert failures(got) == {"issuer": "key_unusable"}


async def test_rsa_keys_made_to_cost_are_not_used() -> None:
    """Verifying takes as many squarings as the exponent has bits."""
    numbers = foreign.RSA.public_key().public_numbers()
    for exponent, code in ((3, None), ((1 << 32) + 1, "key_unusable"), ((1 << 2040) + 1, "key_unusable")):
        public = foreign.rsa.RSAPublicNumbers(exponent, numbers.n).public_key()
        document = foreign.did_document()
        jwk = foreign.get_default_algorithms()["RS256"].to_jwk(public, as_dict=True)
        document["verificationMethod"][2]["publicKeyJwk"] = jwk
        got = await verify(as_jwt(badge(), "RS256"), Elsewhere(**{f"{ROOT}/.well-known/did.json": document}))
        assert failures(got) == ({"issuer": code} if code else {"proof": "signature_mismatch"})


async def test_few_keys_of_one_name_are_tried() -> None:
    document = foreign.did_document()
    others = [foreign.jwk("ES256") | {"kid": "x"}, *(new_jwk() for _ in range(3))]
    for same_name, expected in ((others, {}), ([*others, new_jwk()], {"issuer": "key_not_of_issuer"})):
        document["verificationMethod"] = [
            {"id": f"{foreign.DID}#ES256", "type": "JsonWebKey", "controller": foreign.DID, "publicKeyJwk": jwk}
            for jwk in same_name
        ]
        got = await verify(as_jwt(badge()), Elsewhere(**{f"{ROOT}/.well-known/did.json": document}))
        assert failures(got) == expected


def new_jwk() -> dict:
    key = foreign.ec.generate_private_key(foreign.ec.SECP256R1()).public_key()
    return foreign.get_default_algorithms()["ES256"].to_jwk(key, as_dict=True)


async def test_elliptic_curves_in_embedded_proofs() -> None:
    for curve, hash_, size in ((foreign.ec.SECP256R1(), sha256, 32), (foreign.ec.SECP384R1(), sha384, 48)):
        private = foreign.ec.generate_private_key(curve)
        point = private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        did = "did:key:z" + dids.base58((b"\x80\x24" if size == 32 else b"\x81\x24") + point)
        document = badge(issuer=did)
        options = proofs.proof_options(f"{did}#{did.removeprefix('did:key:')}", "2026-07-01T09:00:00Z")
        options["cryptosuite"] = "ecdsa-rdfc-2019"
        parts = [{**options, "@context": document["@context"]}, document]
        data = b"".join(hash_(json_ld.canonicalise(part).encode()).digest() for part in parts)
        der = private.sign(data, foreign.ec.ECDSA(SHA256() if size == 32 else SHA384()))
        signature = b"".join(number.to_bytes(size, "big") for number in decode_dss_signature(der))
        signed = proofs.attach(document, options, signature)
        assert (await verify(signed)).verified
        assert failures(await verify(changed(signed, lambda d: d.update(name="x")))) == {"proof": "signature_mismatch"}


@pytest.mark.parametrize("curve", ["P-256", "P-384"])
async def test_what_another_library_signed_by_elliptic_curves(curve) -> None:
    """By @digitalbazaar/ecdsa-rdfc-2019-cryptosuite 1.3.0: several unnamed parts, which P-384 tells apart by SHA-384."""
    signed = json.loads((Path(__file__).parent / "data" / "ecdsa-rdfc-2019.json").read_text("utf-8"))[curve]
    assert sum("id" not in result for result in signed["credentialSubject"]["identifier"]) > 1
    got = await verify(signed, now=foreign.NOW + timedelta(days=365))
    assert (got.status, failures(got)) == (Status.VALID, {})
    lie = changed(signed, lambda d: d["credentialSubject"]["identifier"][1].update(identityHash="Mallory"))
    assert failures(await verify(lie, now=foreign.NOW + timedelta(days=365))) == {"proof": "signature_mismatch"}


async def test_an_issuer_that_is_an_address() -> None:
    document = badge(issuer={"id": f"{ROOT}/issuer", "type": "Profile", "name": "Other"})
    claims = {"iss": f"{ROOT}/issuer"}
    keys_ = {"keys": [foreign.jwk("ES256", kid="a"), foreign.jwk("RS256", kid="b")]}
    web = Elsewhere(**{SET: keys_})
    assert (await verify(as_jwt(document, "RS256", kid=f"{SET}#b", claims=claims), web)).verified
    assert (await verify(as_jwt(document, "RS256", kid="b", claims=claims), web)).verified
    signed = sign(document, keys.LocalSigner(foreign.ED, f"{ROOT}/issuer#k"))
    assert (await verify(signed, Elsewhere(**{f"{ROOT}/issuer": controller()}))).verified
    for changes in ({"assertionMethod": []}, {"verificationMethod": []}):
        got = await verify(signed, Elsewhere(**{f"{ROOT}/issuer": controller() | changes}))
        assert failures(got) == {"issuer": "key_not_of_issuer"}


def controller(**changes: object) -> dict:
    method = {"id": f"{ROOT}/issuer#k", "type": "Multikey", "controller": f"{ROOT}/issuer"}
    return {
        "id": f"{ROOT}/issuer",
        "verificationMethod": [method | {"publicKeyMultibase": foreign.MULTIKEY} | changes],
        "assertionMethod": [f"{ROOT}/issuer#k"],
    }


async def test_a_file_somebody_placed_on_the_issuers_host_makes_nobody_the_issuer() -> None:
    """A host of many: what lies in another's folder may say what it likes."""
    upload = f"{ROOT}/mallory/upload.json"
    planted = [
        {"keys": [foreign.jwk("ES256", kid="k")]},
        foreign.jwk("ES256", kid="k"),
        {
            "id": upload,
            "verificationMethod": [
                {"id": f"{upload}#k", "controller": upload, "publicKeyJwk": foreign.jwk("ES256")},
                {"id": f"{upload}#k", "controller": f"{ROOT}/issuer", "publicKeyJwk": foreign.jwk("ES256")},
            ],
            "assertionMethod": [f"{upload}#k"],
        },
        {"id": f"{upload}#k", "controller": f"{ROOT}/issuer", "publicKeyJwk": foreign.jwk("ES256")},
    ]
    others = foreign.did_document("did:web:other.example:alice")
    others["verificationMethod"], others["assertionMethod"] = others["verificationMethod"][:1], [f"{others['id']}#ed"]
    pages = {f"{ROOT}/issuer": controller(), f"{ROOT}/alice/did.json": others}
    for issuer in (f"{ROOT}/issuer", "did:web:other.example:alice"):
        for page in planted:
            for kid in (upload, f"{upload}#k"):
                token = as_jwt(badge(issuer=issuer), kid=kid, claims={"iss": issuer})
                got = await verify(token, Elsewhere(**{**pages, upload: page}))
                assert failures(got) == {"issuer": "key_not_of_issuer"}


@asynccontextmanager
async def host(pages: dict[str, bytes]) -> AsyncIterator[str]:
    """A real one; what is not among its pages sends on to wherever the query says."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        found = pages.get(path)
        target = parse_qs(urlsplit(path).query).get("next", [""])[0]
        head = "200 OK" if found is not None else f"302 Found\r\nLocation: {target}"
        writer.write(f"HTTP/1.1 {head}\r\n\r\n".encode() + (found or b""))
        writer.close()

    running = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("where", ["login", ".well-known/jwks.json"])
async def test_whoever_makes_the_issuers_host_redirect_is_not_the_issuer(where) -> None:
    verifier = Verifier(Limits(), Outside(Limits(), loopback=True))
    jwks = json.dumps({"keys": [foreign.jwk("ES256", kid="k")]}).encode()
    async with host({"/keys.json": jwks}) as evil, host({}) as university:
        issuer = f"{university}/issuer"
        kid = f"{university}/{where}?next={evil}/keys.json#k"
        token = as_jwt(badge(issuer=issuer), kid=kid, claims={"iss": issuer})
        got = await verifier.verify(token.encode(), verifier.outside, NOW, client="a")
    assert not got.proven
    assert set(failures(got)) == {"issuer"}


async def test_a_key_is_taken_from_the_origin_that_was_asked_and_a_list_from_wherever_it_lies() -> None:
    """A status list is signed, a key set is not."""
    outside = Outside(Limits(), loopback=True)
    async with host({"/there": b"hello"}) as there, host({"/here": b"hello"}) as here:
        assert await outside.get(f"{here}/?next={there}/there", 100) == b"hello"
        with pytest.raises(Unreachable) as caught:
            await outside.get(f"{here}/?next={there}/there", 100, own_word=True)
        assert caught.value.code == "sent_elsewhere"
        assert await outside.get(f"{here}/?next=/here", 100, own_word=True) == b"hello"


@pytest.mark.parametrize("said", [{"revoked": "2025-01-01T00:00:00Z"}, {"expires": "2025-01-01T00:00:00Z"}])
async def test_a_key_that_was_withdrawn_signs_nothing_more(said) -> None:
    later = dict.fromkeys(said, "2099-01-01T00:00:00Z")
    for moment, code in ((said, "key_withdrawn"), (later, None)):
        document = foreign.did_document()
        document["verificationMethod"] = [method | moment for method in document["verificationMethod"]]
        web = Elsewhere(**{f"{ROOT}/.well-known/did.json": document, f"{ROOT}/issuer": controller(**moment)})
        own = badge(issuer=f"{ROOT}/issuer")
        for given in (
            sign(badge()),
            as_jwt(badge()),
            sign(own, keys.LocalSigner(foreign.ED, f"{ROOT}/issuer#k")),
        ):
            assert failures(await verify(given, web)).get("issuer") == code
        along = failures(await verify(as_jwt(badge(), kid=None, jwk=foreign.jwk("ES256")), web))
        assert along.get("issuer") == (code and "key_not_of_issuer")


async def test_keys_of_other_kinds_beside_the_right_one_are_passed_over() -> None:
    strange = [{"kty": "OKP", "crv": "X25519", "x": "AAAA"}, {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}]
    document = foreign.did_document()
    for number, unread in enumerate(strange):
        name = f"{DID}#{number}"
        method = {"id": name, "type": "JsonWebKey", "controller": DID, "publicKeyJwk": unread}
        document["verificationMethod"].insert(0, method)
        document["assertionMethod"].insert(0, name)
    came = as_jwt(badge(), kid=None, jwk=foreign.jwk("ES256"))
    assert (await verify(came, Elsewhere(**{f"{ROOT}/.well-known/did.json": document}))).verified
    https = as_jwt(badge(issuer=ROOT), kid=None, jwk=foreign.jwk("ES256"), claims={"iss": ROOT})
    assert (await verify(https, Elsewhere(**{SET: {"keys": [*strange, foreign.jwk("ES256")]}}))).verified


ODD = [
    "x",
    None,
    5,
    [1],
    {"id": ["a"]},
    {"id": {"a": 1}},
    {"type": "Multikey"},
    {"id": f"{DID}#z", "publicKeyJwk": [1]},
]


@pytest.mark.parametrize("odd", [*ODD, {"id": foreign.METHOD, "publicKeyMultibase": "zzz"}])
async def test_whatever_stands_beside_the_right_key_is_passed_over(odd) -> None:
    if isinstance(odd, dict):
        odd = odd | {"controller": DID}
    document = foreign.did_document()
    document["verificationMethod"].insert(0, odd)
    document["assertionMethod"].insert(0, odd)
    web = Elsewhere(**{f"{ROOT}/.well-known/did.json": document})
    assert (await verify(sign(badge()), web)).verified
    assert (await verify(as_jwt(badge()), web)).verified


@pytest.mark.parametrize(
    "odd", [None, "x", foreign.jwk("ES256", kid=["k"]), {"kty": "oct", "kid": "k"}, foreign.jwk("RS256", kid="k")]
)
async def test_whatever_stands_beside_the_right_jwk_is_passed_over(odd) -> None:
    web = Elsewhere(**{SET: {"keys": [odd, foreign.jwk("ES256", kid="k")]}})
    for kid in ("k", f"{SET}#k"):
        assert (await verify(as_jwt(badge(issuer=ROOT), kid=kid, claims={"iss": ROOT}), web)).verified


@pytest.mark.parametrize("members", [{"use": "enc"}, {"key_ops": ["encrypt"]}, {"key_ops": []}])
async def test_a_key_for_something_else_signs_nothing(members) -> None:
    web = Elsewhere(**{SET: {"keys": [foreign.jwk("ES256", kid="k") | members]}})
    got = await verify(as_jwt(badge(issuer=ROOT), kid="k", claims={"iss": ROOT}), web)
    assert failures(got) == {"issuer": "key_unusable"}


@pytest.mark.parametrize("said", [{"revoked": None}, {"revoked": False}, {"expires": None}])
async def test_a_key_of_which_no_end_is_said_holds(said) -> None:
    document = foreign.did_document()
    document["verificationMethod"] = [method | said for method in document["verificationMethod"]]
    assert (await verify(sign(badge()), Elsewhere(**{f"{ROOT}/.well-known/did.json": document}))).verified


async def test_a_key_revoked_under_another_name_signs_nothing_more() -> None:
    document = foreign.did_document()
    twin = document["verificationMethod"][0] | {"id": f"{DID}#old", "revoked": "2025-01-01T00:00:00Z"}
    document["verificationMethod"].append(twin)
    got = await verify(sign(badge()), Elsewhere(**{f"{ROOT}/.well-known/did.json": document}))
    assert failures(got) == {"issuer": "key_withdrawn"}
    assert (await verify(as_jwt(badge()), Elsewhere(**{f"{ROOT}/.well-known/did.json": document}))).verified
    sets = [foreign.jwk("ES256", kid="k"), foreign.jwk("ES256", kid="old", revoked="2025-01-01T00:00:00Z")]
    https = as_jwt(badge(issuer=ROOT), kid="k", claims={"iss": ROOT})
    assert failures(await verify(https, Elsewhere(**{SET: {"keys": sets}}))) == {"issuer": "key_withdrawn"}


@pytest.mark.parametrize(
    "name", ["other.example%3Fx", "other.example%23", "other.example%5C", "other.example:..:x", "other.example:%2e%2E",
             "other.example:a%3Fb", "other.example%3A123456", "other.example?x", "%0a"],
)  # fmt: skip
async def test_a_name_that_would_lead_elsewhere_in_an_address_is_none(name) -> None:
    did = f"did:web:{name}"
    web = Elsewhere()
    got = await verify(as_jwt(badge(issuer=did), kid=f"{did}#ES256", claims={"iss": did}), web)
    assert (failures(got), web.asked) == ({"issuer": "issuer_unknown"}, [])


async def test_a_document_that_names_its_methods_relatively() -> None:
    document = foreign.did_document()
    for method in document["verificationMethod"]:
        method["id"] = method["id"].removeprefix(DID)
    document["assertionMethod"] = [name.removeprefix(DID) for name in document["assertionMethod"]]
    web = Elsewhere(**{f"{ROOT}/.well-known/did.json": document})
    assert (await verify(sign(badge()), web)).verified
    assert (await verify(as_jwt(badge()), web)).verified


async def test_a_key_on_another_host_says_nothing_of_the_issuer() -> None:
    evil = {f"https://evil.example/{name}": foreign.jwk("ES256") for name in ("key", "jwks")}
    for issuer in (DID, f"{ROOT}/issuer"):
        document = badge(issuer=issuer)
        got = await verify(as_jwt(document, kid="https://evil.example/key", claims={"iss": issuer}), Elsewhere(**evil))
        assert failures(got) == {"issuer": "key_not_of_issuer"}
    planted = foreign.did_document("did:web:evil.example")
    signed = sign(badge(), keys.LocalSigner(foreign.ED, "did:web:evil.example#ed"))
    got = await verify(signed, Elsewhere(**{"https://evil.example/.well-known/did.json": planted}))
    assert failures(got) == {"issuer": "key_not_of_issuer"}


async def test_a_key_that_came_along_must_be_the_issuers() -> None:
    own = as_jwt(badge(), kid=None, jwk=foreign.jwk("ES256"))
    assert (await verify(own)).verified
    stranger = foreign.ec.generate_private_key(foreign.ec.SECP256R1())
    public = foreign.get_default_algorithms()["ES256"].to_jwk(stranger.public_key(), as_dict=True)
    token = foreign.jwt.encode(badge() | {"iss": DID}, stranger, algorithm="ES256", headers={"jwk": public})
    assert failures(await verify(token)) == {"issuer": "key_not_of_issuer"}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda d: d.update(id="did:web:another.example"), "issuer_unknown"),
        (lambda d: d.update(assertionMethod=[]), "key_not_of_issuer"),
        (lambda d: d["verificationMethod"][0].update(controller="did:web:another.example"), "key_not_of_issuer"),
        (lambda d: d["verificationMethod"][0].update(publicKeyMultibase="zQ"), "key_unusable"),
        (lambda d: d.update(verificationMethod=[{}] * 101), "issuer_unknown"),
        (lambda d: d.clear(), "issuer_unknown"),
    ],
)
async def test_what_the_issuer_does_not_vouch_for(change, code) -> None:
    web = Elsewhere(**{f"{ROOT}/.well-known/did.json": changed(foreign.did_document(), change)})
    assert failures(await verify(sign(badge()), web)) == {"issuer": code}


@pytest.mark.parametrize("page", [b"", b"[]", b"<html>", b"[" * 10_000, b'{"id": 1, "id": 2}'])
async def test_nonsense_at_the_issuers_address(page) -> None:
    web = Elsewhere(**{f"{ROOT}/.well-known/did.json": page})
    assert failures(await verify(sign(badge()), web)) == {"issuer": "issuer_unknown"}


@pytest.mark.parametrize("issuer", ["did:example:1", "did:web:", "did:web:a:", "mailto:x@example.org", "did:web:a%2Fb"])
async def test_issuers_that_cannot_be_asked(issuer) -> None:
    got = await verify(as_jwt(badge(issuer=issuer), claims={"iss": issuer}))
    assert failures(got) == {"issuer": "issuer_unknown"}
