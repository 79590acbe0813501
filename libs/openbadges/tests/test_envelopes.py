"""Credentials in an envelope: what is in it counts, and nothing that is written on it."""

import json

import pytest

from openbadges import baking
from openbadges import testing as foreign
from openbadges.testing import (
    as_jwt,
    badge,
    failures,
    one_pixel,
    sign,
    transcript,
    verify,
)
from openbadges.verification.jose import NotToken
from openbadges.verification.reading import NotCredential
from openbadges.verification.report import Status

ENVELOPED_IRI = "https://www.w3.org/2018/credentials#EnvelopedVerifiableCredential"


def enveloped(token: str, **beside: object) -> dict:
    """An envelope by itself, with whatever else is written on it."""
    address = f"data:application/vc+jwt,{token}"
    return {"@context": [foreign.VC_2], "id": address, "type": "EnvelopedVerifiableCredential", **beside}


@pytest.mark.parametrize("kinds", [["EnvelopedVerifiableCredential"], ["VerifiableCredential", ENVELOPED_IRI]])
async def test_an_envelope_by_itself_is_what_is_in_it(kinds: list[str]) -> None:
    for token in (as_jwt(badge()), as_jwt(transcript([as_jwt(badge(1)), enveloped(as_jwt(badge(2)))]))):
        alone, within = await verify(token), await verify(enveloped(token, type=kinds))
        assert (within.status, failures(within)) == (Status.VALID, {})
        assert (within.kind, within.document, len(within.parts)) == (alone.kind, alone.document, len(alone.parts))
    assert (await verify(baking.into_png(one_pixel(), json.dumps(enveloped(as_jwt(badge()))).encode()))).verified


async def test_nothing_that_is_written_on_an_envelope_is_believed() -> None:
    forged = badge(9)["credentialSubject"] | {"id": "urn:uuid:00000000-0000-4000-8000-00000000000f"}
    for beside in (
        {"credentialSubject": forged},
        {"issuer": "did:web:forged.example", "validUntil": "2999-01-01T00:00:00Z", "name": "Forged"},
        {"proof": sign(badge(9))["proof"], "credentialStatus": [], "@context": ["https://forged.example/context"]},
        sign(badge(9)) | {"id": enveloped(as_jwt(badge(1)))["id"], "type": ["OpenBadgeCredential", ENVELOPED_IRI]},
    ):
        got = await verify(enveloped(as_jwt(badge(1))) | beside)
        assert (got.status, got.document) == (Status.VALID, (await verify(as_jwt(badge(1)))).document)
    tampered = as_jwt(badge(1))
    tampered = tampered[:-8] + ("A" * 8)
    got = await verify(enveloped(tampered) | sign(badge(1)) | {"id": enveloped(tampered)["id"], "type": ENVELOPED_IRI})
    assert failures(got) == {"proof": "signature_mismatch"}, "nor does a good proof beside it help it"
    ended = await verify(enveloped(as_jwt(badge(1) | {"validUntil": "2026-01-01T00:00:00Z"}), validUntil="2999-01-01"))
    assert ended.status is Status.EXPIRED


async def test_no_envelope_is_opened_in_an_envelope() -> None:
    got = await verify(enveloped(as_jwt(enveloped(as_jwt(badge()), credentialSubject={"id": "urn:x:y"}))))
    assert (got.status, failures(got)["schema"]) == (Status.UNCONFIRMED, "schema_mismatch")


@pytest.mark.parametrize(
    "address", ["data:application/vc+cose,0oRD", "data:application/vc+jwt;base64,ZXlK", "https://other.example/1.jwt"]
)
async def test_an_envelope_of_another_form_says_so(address: str) -> None:
    got = await verify(enveloped("") | {"id": address})
    assert (got.status, failures(got), got.document) == (Status.UNCONFIRMED, {"schema": "envelope_unknown"}, {})


@pytest.mark.parametrize(
    ("token", "refusal"), [("nothing", NotCredential), ("aaaa.bbbb.cccc", NotToken), ('{"id": "x"}', NotCredential)]
)
async def test_an_envelope_with_no_token_in_it_is_refused_as_that_would_be(token: str, refusal: type) -> None:
    with pytest.raises(refusal):
        await verify(enveloped(token))
