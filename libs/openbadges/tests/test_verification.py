"""Ours and others': every form a credential comes in, and every way in which one does not hold."""

import json
import re
import zlib
from datetime import timedelta
from hashlib import sha256

import jwt
import pytest

from openbadges import baking, json_ld, keys, proofs
from openbadges import testing as foreign
from openbadges.coverage import UndefinedTerms
from openbadges.facts import facts_of
from openbadges.json_ld import canonicalise, check_terms
from openbadges.testing import (
    DID,
    NOW,
    ROOT,
    Elsewhere,
    as_jwt,
    badge,
    changed,
    failures,
    listed,
    one_pixel,
    sign,
    transcript,
    verify,
)
from openbadges.verification.report import CheckOutcome, Kind, Question, Status

from .signers import other_signer

# What holds


async def test_an_open_badge_of_another_university() -> None:
    report = await verify(sign(badge(**listed())))
    assert (report.status, failures(report)) == (Status.VALID, {})


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_the_same_as_a_jwt(algorithm) -> None:
    report = await verify(as_jwt(badge(**listed()), algorithm))
    assert (report.status, failures(report)) == (Status.VALID, {})
    assert report.document["name"] == "Welding"


async def test_baked_into_pictures() -> None:
    signed, picture = json.dumps(sign(badge())), '<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"></svg>'
    for text in (signed, as_jwt(badge())):
        png = baking.into_png(one_pixel(), text.encode())
        assert (await verify(png)).verified
        svg = baking.into_svg(picture, text)
        assert (await verify(svg)).verified
    data = baking.KEYWORD + b"\0\1\0\0\0" + zlib.compress(signed.encode())
    chunk = len(data).to_bytes(4, "big") + b"iTXt" + data + zlib.crc32(b"iTXt" + data).to_bytes(4, "big")
    plain = one_pixel()
    assert (await verify(plain[:33] + chunk + plain[33:])).verified  # compressed by others; we never do


async def test_a_plain_credential_of_any_kind() -> None:
    document = {
        "@context": [foreign.VC_2],
        "type": ["VerifiableCredential"],
        "issuer": DID,
        "credentialSubject": {"id": "did:example:holder"},
    }
    assert (await verify(sign(document))).status is Status.VALID
    assert (await verify(as_jwt(document, typ="vc+jwt"))).status is Status.VALID


async def test_a_badge_of_the_older_data_model() -> None:
    document = badge(issuanceDate="2026-07-01T09:00:00Z", expirationDate="2027-07-01T09:00:00Z")
    del document["validFrom"]
    document["@context"] = [foreign.VC_1, "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.1.json", foreign.ED_2020]
    document.pop("name")
    options = {
        "type": "Ed25519Signature2020",
        "created": "2026-07-01T09:00:00Z",
        "verificationMethod": foreign.METHOD,
        "proofPurpose": "assertionMethod",
    }
    canonical = json_ld.canonicalise(document)
    digest = proofs.digest(json_ld.canonicalise({**options, "@context": document["@context"]}), canonical)
    signed = proofs.attach(document, options, foreign.ED.sign(digest))
    assert (await verify(signed)).status is Status.VALID
    late = await verify(signed, now=NOW + timedelta(days=300))
    assert (late.status, failures(late)) == (Status.EXPIRED, {"period": "expired"})

    claims = {"vc": document, "iss": DID, "jti": document["id"], "nbf": 1782896400, "exp": 1814432400}
    token = as_jwt({"credentialSubject": {}, **claims}, claims={"sub": document["credentialSubject"]["id"]})
    assert (await verify(token)).status is Status.VALID


async def test_a_transcript_leaf_by_leaf() -> None:
    parts = [sign(badge(1, **listed(1))), sign(badge(2, **listed(2)))]
    whole = sign(transcript(parts))
    report = await verify(whole)
    assert (report.status, [part.status for part in report.parts]) == (Status.VALID, [Status.VALID] * 2)

    one_revoked = await verify(whole, Elsewhere(2))
    assert one_revoked.status is Status.PARTLY_VALID
    assert [part.status for part in one_revoked.parts] == [Status.VALID, Status.REVOKED]
    assert failures(one_revoked) == {"parts": "part_not_valid"}

    dropped = changed(whole, lambda d: d["credentialSubject"]["verifiableCredential"].pop())
    assert failures(await verify(dropped)) == {"proof": "signature_mismatch"}
    touched = changed(whole, lambda d: d["credentialSubject"]["verifiableCredential"][0].update(name="Weaving"))
    got = await verify(touched)
    assert failures(got) == {"proof": "signature_mismatch", "parts": "part_not_valid"}
    assert failures(got.parts[0]) == {"proof": "signature_mismatch"}


async def test_a_transcript_of_jwts() -> None:
    envelope = {
        "@context": foreign.VC_2,
        "id": f"data:application/vc+jwt,{as_jwt(badge(2))}",
        "type": "EnvelopedVerifiableCredential",
    }
    report = await verify(as_jwt(transcript([as_jwt(badge(1)), envelope])))
    assert (report.status, len(report.parts)) == (Status.VALID, 2)
    tampered = as_jwt(badge(1))
    tampered = tampered[:-8] + ("A" * 8)
    report = await verify(as_jwt(transcript([tampered])))
    assert (report.status, failures(report.parts[0])) == (Status.PARTLY_VALID, {"proof": "signature_mismatch"})


def self_made(parts: list, **members: object) -> dict:
    """A transcript that anybody makes with a key of their own, under the name of a university."""
    did = f"did:key:{foreign.MULTIKEY}"
    issuer = {"id": did, "type": ["Profile"], "name": "Other University"}
    document = transcript(parts, id="urn:uuid:1", issuer=issuer)
    document["credentialSubject"] |= {
        "identifier": [
            {"type": "IdentityObject", "hashed": False, "identityType": "name", "identityHash": "Mallory Evil"}
        ],
    } | members
    return sign(document, keys.LocalSigner(foreign.ED, f"{did}#{foreign.MULTIKEY}"))


async def test_other_peoples_badges_make_no_transcript() -> None:
    badges = [sign(badge(number)) for number in (1, 2, 3)]
    got = await verify(self_made(badges))
    assert (got.status, failures(got)) == (Status.PARTLY_VALID, {"parts": "another_holder"})
    one_of_them = await verify(self_made(badges, id=badges[0]["credentialSubject"]["id"]))
    assert failures(one_of_them) == {"parts": "another_holder"}
    for members in ({}, {"id": badges[0]["credentialSubject"]["id"]}):
        of_one = await verify(self_made(badges[:1], **members))
        assert (of_one.status, failures(of_one)) == (Status.PARTLY_VALID, {"parts": "holder_not_shown"})


async def test_an_identifier_that_names_nobody_joins_nothing() -> None:
    unnamed = {"type": "IdentityObject", "hashed": False, "identityType": "emailAddress"}
    badges = []
    for number in (1, 2):
        document = badge(number)
        del document["credentialSubject"]["id"]
        document["credentialSubject"]["identifier"] = [unnamed]
        badges.append(sign(document))
    assert failures(await verify(self_made(badges, identifier=[unnamed]))) == {"parts": "another_holder"}


@pytest.mark.parametrize(
    "header",
    [{"typ": "vc+ld+jwt"}, {"x5c": ["MIIB"]}, {"x5t#S256": "x"}, {"iss": DID}],
)
async def test_headers_that_others_write(header) -> None:
    assert (await verify(as_jwt(badge(), **header))).status is Status.VALID


async def test_a_header_that_names_another_issuer() -> None:
    assert failures(await verify(as_jwt(badge(), iss="did:web:else.example"))) == {"proof": "claims_differ"}


# Signatures


UNSIGNED = {"no_proof", "several_proofs", "suite_unknown", "purpose_refused"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d["credentialSubject"]["achievement"].update(name="Weaving"), {"proof": "signature_mismatch"}),
        (lambda d: d.pop("credentialStatus"), {"proof": "signature_mismatch"}),
        (lambda d: d["proof"][0].update(created="2026-07-02T09:00:00Z"), {"proof": "signature_mismatch"}),
        (lambda d: d["proof"][0].update(proofValue="z" + "1" * 64), {"proof": "signature_mismatch"}),
        (lambda d: d["proof"][0].update(proofValue="z0"), {"proof": "signature_mismatch"}),
        (lambda d: d["proof"][0].update(proofValue="z" + "2" * 300), {"proof": "signature_mismatch"}),
        (lambda d: d["proof"][0].update(cryptosuite="rot13"), {"proof": "suite_unknown"}),
        (lambda d: d["proof"][0].update(proofPurpose="authentication"), {"proof": "purpose_refused"}),
        (lambda d: d["proof"].append(d["proof"][0]), {"proof": "several_proofs"}),
        (lambda d: d.update(proof=[]), {"proof": "no_proof"}),
        (lambda d: d.pop("proof"), {"proof": "no_proof"}),
        (lambda d: d.update(honours="first"), {"terms": "undefined_terms"}),
        (lambda d: d.update({"https://schema.org/name": "x"}), {"terms": "undefined_terms"}),
        (lambda d: d["@context"].append("https://elsewhere.example/context"), {"terms": "unknown_context"}),
        (
            lambda d: d["@context"].append({"honours": "urn:x"}),
            {"schema": "schema_mismatch", "terms": "unknown_context"},
        ),
        (lambda d: d["@context"].reverse(), {"schema": "schema_mismatch"}),
        (lambda d: d.update(type=["OpenBadgeCredential"]), {"schema": "schema_mismatch"}),
        (lambda d: d.update(validFrom="yesterday"), {"schema": "schema_mismatch"}),
        (lambda d: d.update(validFrom="2026-07-01T09:00:00"), {"schema": "schema_mismatch"}),
        (lambda d: d["credentialSubject"].pop("achievement"), {"schema": "schema_mismatch"}),
    ],
)
async def test_each_way_to_change_a_credential_fails_its_own_check(change, expected) -> None:
    got = await verify(changed(sign(badge(**listed())), change))
    assert (got.status, got.verified) == (Status.UNCONFIRMED, False)
    assert expected.items() <= failures(got).items(), failures(got)
    covered = got.says(Question.TERMS, CheckOutcome.PASSED)
    assert not (covered and expected.get("proof") in UNSIGNED), "what is not signed is covered by no signature"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d["credentialSubject"].pop("id"), "$.credentialSubject"),
        (lambda d: d["credentialSubject"].update(achievement=[{"id": 5}]), "$.credentialSubject.achievement"),
        (lambda d: d.update(validFrom={"a": 1}), "$.validFrom"),
    ],
)
async def test_a_member_of_another_shape_is_named_and_its_content_not_poured_out(change, where) -> None:
    got = await verify(changed(sign(badge(**listed())), change))
    [detail] = [check.detail for check in got.checks if check.code == "schema_mismatch"]
    assert detail.startswith(f"At {where}: what stands there is")
    assert not [check.detail for check in got.checks if re.search(r"\{'|\('|\n", check.detail)]


async def test_a_signature_with_an_end() -> None:
    options = proofs.proof_options(foreign.METHOD, "2026-07-01T09:00:00Z") | {"expires": "2026-08-01T09:00:00Z"}
    document = badge()
    document["@context"].append("https://w3id.org/security/data-integrity/v2")
    canonical = json_ld.canonicalise({**options, "@context": document["@context"]})
    signed = proofs.attach(document, options, foreign.ED.sign(proofs.digest(canonical, json_ld.canonicalise(document))))
    assert failures(await verify(signed)) == {"proof": "signature_expired"}


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ({"alg": "none"}, "algorithm_refused"),
        ({"alg": "None"}, "algorithm_refused"),
        ({}, "algorithm_refused"),
        ({"alg": "HS256", "kid": f"{DID}#RS256"}, "algorithm_refused"),
        ({"alg": ["ES256"]}, "algorithm_refused"),
        ({"alg": "ES256", "crit": ["b64"], "b64": False}, "header_refused"),
        ({"alg": "ES256", "x5u": "https://evil.example/"}, "header_refused"),
        ({"alg": "ES256", "typ": "at+jwt"}, "header_refused"),
        ({"alg": "ES256", "cty": "vp"}, "header_refused"),
        ({"alg": "ES256", "cty": "JWT"}, "header_refused"),
        ({"alg": "ES256", "cty": ["vc"]}, "header_refused"),
        ({"alg": "ES256", "kid": 5}, "header_refused"),
        ({"alg": "ES256", "jwk": "key"}, "header_refused"),
    ],
)
async def test_headers_that_prove_nothing(header, code) -> None:
    got = await verify(foreign.forged_jwt(badge() | {"iss": DID}, header))
    assert failures(got) == {"proof": code}


async def test_the_public_key_is_no_secret_to_sign_with() -> None:
    """The old confusion: HMAC with what everybody knows."""
    import hmac

    secret = json.dumps(foreign.jwk("RS256")).encode()
    head, _, _ = foreign.forged_jwt(badge(), {"alg": "HS256", "kid": f"{DID}#RS256"}).rpartition(".")
    token = foreign.forged_jwt(
        badge(), {"alg": "HS256", "kid": f"{DID}#RS256"}, hmac.new(secret, head.encode(), sha256).digest()
    )
    assert failures(await verify(token)) == {"proof": "algorithm_refused"}
    swapped = as_jwt(badge(), "ES256", kid=f"{DID}#RS256")
    assert failures(await verify(swapped)) == {"proof": "signature_mismatch"}


@pytest.mark.parametrize(
    "claims", [{"iss": "did:web:else.example"}, {"jti": "urn:x"}, {"sub": "urn:x"}, {"nbf": 1}, {"exp": 1}]
)
async def test_claims_that_say_another_thing(claims) -> None:
    token = as_jwt(badge(validUntil="2030-01-01T00:00:00Z"), claims=claims)
    assert failures(await verify(token)) == {"proof": "claims_differ"}


async def test_a_jwt_with_a_second_proof_within() -> None:
    assert failures(await verify(as_jwt(sign(badge())))) == {"proof": "several_proofs"}


# What others write


@pytest.mark.parametrize("at", ["2026-07-01T09:00:00.1234567891Z", "2026-07-01T11:00:00.5+02:00"])
async def test_an_instant_has_a_zone_and_any_number_of_digits(at) -> None:
    got = await verify(sign(badge(validFrom=at)))
    assert failures(got) == {}
    awarded = facts_of(got.document, got.kind).awarded
    assert awarded is not None
    assert (awarded.hour, awarded.minute, awarded.second) == (9, 0, 0)


@pytest.mark.parametrize("kind", ["vc", "application/vc", "vc+ld+json"])
async def test_a_token_may_say_what_it_holds(kind) -> None:
    assert (await verify(as_jwt(badge(), cty=kind))).verified


async def test_claims_that_bind_nothing() -> None:
    """A null says that there is no end, as some write it; when a token was made (`iat`) decides nothing (RFC 7519)."""
    soon = int(NOW.timestamp()) + 600
    for claims in ({"iat": soon}, {"exp": None}):
        payload = badge() | {"iss": DID} | claims
        token = jwt.encode(payload, foreign.P256, algorithm="ES256", headers={"kid": f"{DID}#ES256"})
        assert (await verify(token)).verified


async def test_a_text_in_a_language() -> None:
    name = {"@value": "Welding", "@language": "en"}
    document = badge(name=[name, {"@value": "Schweißen", "@language": "de"}])
    got = await verify(sign(document))
    assert failures(got) == {}
    assert facts_of(got.document, Kind.OTHER).title == "Welding"
    for lie in (
        {"@value": "Welding"},
        name | {"@language": "de"},
        name | {"@type": "x:y"},
        name | {"@direction": "rtl"},
    ):
        forged = changed(sign(document), lambda d, lie=lie: d.update(name=lie))
        assert not (await verify(forged)).proven


@pytest.mark.parametrize("language", [{}, {"@language": "ar"}])
async def test_a_direction_of_writing_is_not_signed_and_so_refused(language) -> None:
    """Whoever turns it round keeps the signature: RDF without `rdfDirection`, which no cryptosuite sets, has none."""
    text = {"@value": "لحام", **language}
    rtl, ltr = (badge(name=text | {"@direction": direction}) for direction in ("rtl", "ltr"))
    assert canonicalise(rtl) == canonicalise(ltr) == canonicalise(badge(name=text))
    with pytest.raises(UndefinedTerms, match=r"@direction.*no signature covers it") as refused:
        check_terms(rtl)
    assert refused.value.extras == {"terms": ["@direction"]}


async def test_a_text_with_a_delete_in_it_and_a_type_by_its_full_name() -> None:
    text = badge(name="a\u007fb")
    assert (await verify(sign(text))).verified
    assert '"a\\u007Fb"' in canonicalise(text), "as RDFC-1.0 writes it, and verifiers that are not ours"
    assert (await verify(as_jwt(badge(), typ="application/vc+jwt"))).verified


# Newer versions


def refreshing(**members: object) -> dict:
    document = badge(refreshService={"id": f"{ROOT}/refresh", "type": "1EdTechCredentialRefresh"})
    document |= members
    document["@context"].append("https://purl.imsglobal.org/spec/ob/v3p0/extensions.json")
    return document


async def test_a_corrected_credential_leads_to_its_newest_version() -> None:
    old = sign(refreshing(**listed(7)))
    new = sign(refreshing(validFrom="2026-09-01T00:00:00Z", name="Welding II", **listed(8)))
    got = await verify(old, Elsewhere(7, **{f"{ROOT}/refresh": new}))
    assert (got.status, got.verified) == (Status.REPLACED, False)
    assert got.newer is not None
    assert (got.newer.status, got.newer.document["name"]) == (Status.VALID, "Welding II")
    assert (await verify(new, Elsewhere(7, **{f"{ROOT}/refresh": new}))).status is Status.VALID


async def test_without_an_answer_the_version_at_hand_counts() -> None:
    old = sign(refreshing())
    others = sign(refreshing(id="urn:x", validFrom="2026-09-01T00:00:00Z"))
    forged = sign(refreshing(validFrom="2026-09-01T00:00:00Z"), other_signer())
    for page in (None, b"nonsense", others, forged, old):
        web = Elsewhere() if page is None else Elsewhere(**{f"{ROOT}/refresh": page})
        assert (await verify(old, web)).newer is None


@pytest.mark.parametrize(
    "page",
    [
        {"id": badge()["id"]},
        {"id": badge()["id"], "issuer": []},
        {"id": badge()["id"], "issuer": {"id": {"a": 1}}, "type": [{}]},
        foreign.did_document() | {"id": badge()["id"]},
        b"aa.bb.cc",
        lambda: sign(refreshing(validFrom="0001-01-01T00:00:00+14:00")),
        lambda: sign(refreshing(validFrom="9999-12-31T23:59:59-14:00")),
    ],
)
async def test_a_newer_version_that_cannot_be_read_is_none(page) -> None:
    page = page() if callable(page) else page
    got = await verify(sign(refreshing()), Elsewhere(**{f"{ROOT}/refresh": page}))
    assert (got.status, got.newer) == (Status.VALID, None)


async def test_a_version_older_than_time_is_replaced_by_none() -> None:
    old = sign(refreshing(validFrom="0001-01-01T00:00:00+14:00"))
    got = await verify(old, Elsewhere(**{f"{ROOT}/refresh": sign(refreshing())}))
    assert got.newer is None


async def test_few_addresses_are_asked() -> None:
    parts = [
        sign(badge(n, credentialStatus=listed(n)["credentialStatus"] | {"statusListCredential": f"{ROOT}/s/{n}"}))
        for n in range(30)
    ]
    web = Elsewhere()
    got = await verify(sign(transcript(parts)), web)
    assert got.status is Status.PARTLY_VALID
    assert len(web.asked) == 24
    assert failures(got.parts[-1]) == {"revocation_list": "too_many_addresses"}
