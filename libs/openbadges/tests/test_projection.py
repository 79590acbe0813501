"""Revocation lists: what each kind says, and what proves nothing."""

import gzip
from base64 import urlsafe_b64encode
from datetime import timedelta

import pytest

from openbadges import json_ld, proofs
from openbadges import testing as foreign
from openbadges.testing import DID, LIST, NOW, ROOT, Elsewhere, as_jwt, badge, changed, failures, listed, sign, verify
from openbadges.verification.report import Question, Status

from .signers import other_signer


async def test_revoked_suspended_expired_and_early() -> None:
    revoked = await verify(sign(badge(**listed(7))), Elsewhere(7))
    assert (revoked.status, failures(revoked)) == (Status.REVOKED, {"revocation": "revoked"})
    document = foreign.status_list(7)
    document["credentialSubject"]["statusPurpose"] = "suspension"
    suspension = sign({name: value for name, value in document.items() if name != "proof"})
    suspended = await verify(sign(badge(**listed(7, "suspension"))), Elsewhere(**{LIST: suspension}))
    assert (suspended.status, failures(suspended)) == (Status.SUSPENDED, {"revocation": "suspended"})
    expired = await verify(sign(badge(validUntil="2026-08-01T00:00:00Z")))
    assert (expired.status, failures(expired)) == (Status.EXPIRED, {"period": "expired"})
    early = await verify(sign(badge(validFrom="2027-01-01T00:00:00Z")))
    assert (early.status, failures(early)) == (Status.NOT_YET_VALID, {"period": "not_yet_valid"})


def seconds(**from_now: float) -> int:
    return int((NOW + timedelta(**from_now)).timestamp())


async def test_a_token_holds_from_its_nbf_to_its_exp() -> None:
    """Also where the credential in it says nothing of either."""
    for claims, status in (
        ({"exp": seconds(days=-400)}, Status.EXPIRED),
        ({"exp": seconds(days=1)}, Status.VALID),
        ({"nbf": seconds(days=1)}, Status.NOT_YET_VALID),
        ({"nbf": seconds(days=-1)}, Status.VALID),
        ({"exp": "soon"}, Status.UNCONFIRMED),
        ({"exp": True}, Status.UNCONFIRMED),
        ({"exp": 1e300}, Status.UNCONFIRMED),
        ({"exp": 1e17}, Status.UNCONFIRMED),
    ):
        document = badge()
        if "nbf" in claims:
            del document["validFrom"]
            document |= {"type": ["VerifiableCredential"]}
        assert (await verify(as_jwt(document, claims=claims))).status is status, claims


@pytest.mark.parametrize("when", ["2026-06-30T23:59:60Z", "2026-13-45T99:99:99Z"])
@pytest.mark.parametrize("name", ["validFrom", "validUntil"])
async def test_a_day_that_never_was_is_neither_past_nor_to_come(name, when) -> None:
    got = await verify(sign(badge(**{name: when})))
    assert (got.status, failures(got)) == (Status.UNCONFIRMED, {"period": "unreadable"})


async def test_what_is_revoked_and_expired_is_revoked() -> None:
    got = await verify(sign(badge(validUntil="2026-08-01T00:00:00Z", **listed(7))), Elsewhere(7))
    assert (got.status, failures(got)) == (Status.REVOKED, {"period": "expired", "revocation": "revoked"})


async def test_a_list_holds_as_long_as_its_token_or_its_proof() -> None:
    bare = {name: value for name, value in foreign.status_list(3).items() if name not in {"proof", "validUntil"}}
    ended = seconds(days=-30)
    with_end = proofs.proof_options(foreign.METHOD, "2025-01-01T00:00:00Z") | {"expires": "2025-06-01T00:00:00Z"}
    canonical = [json_ld.canonicalise(part) for part in ({**with_end, "@context": bare["@context"]}, bare)]
    old_proof = proofs.attach(bare, with_end, foreign.ED.sign(proofs.digest(*canonical)))
    for page in (as_jwt(bare, claims={"sub": None, "exp": ended}).encode(), old_proof):
        got = await verify(sign(badge(**listed(4))), Elsewhere(**{LIST: page}))
        assert failures(got) == {"revocation_list": "list_out_of_date"}
    endless = await verify(sign(badge(**listed(4))), Elsewhere(**{LIST: sign(bare)}))
    (about,) = [check.detail for check in endless.checks if check.name is Question.REVOCATION_LIST]
    assert endless.status is Status.VALID
    assert "does not say until when" in about


async def test_a_list_as_a_jwt() -> None:
    document = {name: value for name, value in foreign.status_list(3).items() if name != "proof"}
    web = Elsewhere(**{LIST: as_jwt(document, claims={"sub": None}).encode()})
    assert (await verify(sign(badge(**listed(4))), web)).status is Status.VALID
    assert (await verify(sign(badge(**listed(3))), web)).status is Status.REVOKED


async def test_the_plain_list_of_1edtech() -> None:
    url = f"{ROOT}/revoked"
    entry = {"credentialStatus": {"id": url, "type": "1EdTechRevocationList"}}
    context = "https://purl.imsglobal.org/spec/ob/v3p0/extensions.json"
    document = badge()
    document |= entry
    document["@context"].append(context)
    signed = sign(document)
    none, one = {"revokedCredential": []}, {"revokedCredential": [{"id": document["id"], "revoked": True}]}
    assert (await verify(signed, Elsewhere(**{url: none}))).status is Status.VALID
    assert (await verify(signed, Elsewhere(**{url: one}))).status is Status.REVOKED
    for page, code in (
        ({"revokedCredential": [document["id"]]}, {"revocation": "revoked"}),
        ({"revokedCredential": [{"id": document["id"], "revoked": False}]}, {}),
        ({}, {"revocation_list": "list_unreadable"}),
        ({"revokedCredential": None}, {"revocation_list": "list_unreadable"}),
        ({"revokedCredential": [{"url": document["id"]}]}, {"revocation_list": "list_unreadable"}),
        (none | {"id": f"{ROOT}/other"}, {"revocation_list": "list_of_another"}),
        (none | {"issuer": "did:web:else.example"}, {"revocation_list": "list_of_another"}),
        (none | {"id": url, "issuer": {"id": DID}}, {}),
    ):
        assert failures(await verify(signed, Elsewhere(**{url: page}))) == code, page


@pytest.mark.parametrize("missing", ["id", "validFrom"])
async def test_a_list_may_leave_out_what_lists_need_not_say(missing) -> None:
    document = {name: value for name, value in foreign.status_list(3).items() if name not in {"proof", missing}}
    web = Elsewhere(**{LIST: sign(document)})
    assert (await verify(sign(badge(**listed(4))), web)).status is Status.VALID
    assert (await verify(sign(badge(**listed(3))), web)).status is Status.REVOKED


@pytest.mark.parametrize(
    ("page", "code"),
    [
        (lambda: foreign.status_list(signer=other_signer()), "list_not_signed"),
        (lambda: foreign.status_list(validUntil="2026-11-23T11:00:00Z"), "list_out_of_date"),
        (lambda: foreign.status_list(id=f"{ROOT}/status/2"), "list_of_another"),
        (lambda: foreign.status_list(issuer="did:web:else.example"), "list_of_another"),
        (lambda: changed(foreign.status_list(7), lambda d: d.pop("proof")), "list_not_signed"),
        (lambda: {**foreign.status_list(), "credentialSubject": {}}, "list_not_signed"),
        (lambda: b"<html>", "list_unreadable"),
        (lambda: b"{}", "issuer_unknown"),
    ],
)
async def test_a_list_that_proves_nothing(page, code) -> None:
    got = await verify(sign(badge(**listed(7))), Elsewhere(**{LIST: page()}))
    assert (got.status, failures(got)) == (Status.UNCONFIRMED, {"revocation_list": code})


async def test_a_list_that_unpacks_to_gigabytes_or_to_nothing() -> None:
    import gzip

    for bits, expected in (
        (bytes(64 << 20), {}),  # only the first part is unpacked
        (bytes(100), {"revocation_list": "list_unreadable"}),
    ):
        packed = "u" + urlsafe_b64encode(gzip.compress(bits)).decode().rstrip("=")
        subject = foreign.status_list()["credentialSubject"] | {"encodedList": packed}
        web = Elsewhere(**{LIST: foreign.status_list(credentialSubject=subject)})
        assert failures(await verify(sign(badge(**listed(7))), web)) == expected


async def test_large_lists_and_lists_packed_in_pieces() -> None:
    bits = bytearray(2_000_000)
    bits[7 >> 3] |= 0x80 >> 7
    pieces = [gzip.compress(bytes(bits[start : start + 500_000])) for start in range(0, len(bits), 500_000)]
    for packed in (gzip.compress(bytes(bits)), b"".join(pieces)):
        encoded = "u" + urlsafe_b64encode(packed).decode().rstrip("=")
        subject = foreign.status_list()["credentialSubject"] | {"encodedList": encoded}
        web = Elsewhere(**{LIST: foreign.status_list(credentialSubject=subject)})
        for index, status in ((7, Status.REVOKED), (15_999_999, Status.VALID)):
            assert (await verify(sign(badge(**listed(index))), web)).status is status


@pytest.mark.parametrize("index", ["999999999", "-1", "1e3", "\u0667", ""])
async def test_a_place_outside_the_list(index) -> None:
    entry = listed(7)["credentialStatus"] | {"statusListIndex": index}
    got = await verify(sign(badge(credentialStatus=entry)))
    assert failures(got) == {"revocation_list": "list_unreadable"}


async def test_ways_to_revoke_that_are_not_read() -> None:
    entry = listed(7)["credentialStatus"] | {"statusPurpose": "refutation"}
    assert failures(await verify(sign(badge(credentialStatus=entry)))) == {"revocation_list": "status_unknown"}


async def test_nobody_is_asked_on_the_word_of_a_forger() -> None:
    """Only what the issuer signed may name addresses, but the issuer's own."""
    entry = listed(7)["credentialStatus"] | {"statusListCredential": "https://victim.example/"}
    web = Elsewhere()
    await verify(sign(badge(credentialStatus=entry), other_signer()), web)
    assert web.asked == [f"{ROOT}/.well-known/did.json"]
