"""What is read of a document is read from what is signed: one form, however the document spells it."""

from collections import defaultdict
from copy import deepcopy

import pytest

from openbadges import contexts, json_ld, meaning
from openbadges import testing as foreign
from openbadges.facts import facts_of
from openbadges.testing import DID, ROOT, Elsewhere, as_jwt, badge, failures, sign, transcript, verify
from openbadges.verification.report import Kind, Status

from .forged import foreign_badge, known_terms, parsed

NOTHING = {"@value": None, "@language": "en"}
CLR_IRI = "https://purl.imsglobal.org/spec/vc/clr/vocab.html#ClrCredential"
BADGE_IRI = "https://purl.imsglobal.org/spec/vc/ob/vocab.html#OpenBadgeCredential"
REFRESH_IRI = "https://purl.imsglobal.org/spec/vccr/v1p0/context.json#1EdTechCredentialRefresh"


def test_each_term_is_known_by_the_name_that_is_signed() -> None:
    ours: dict[str, set[tuple[str, object]]] = defaultdict(set)
    for term, iri, kind in meaning._all_terms():
        ours[term].add((iri, kind))
    assert {term: {iri for iri, _ in meanings} for term, meanings in ours.items()} == {
        term: {iri for iri, _ in meanings} for term, meanings in known_terms().items()
    }
    vocabulary = {iri for meanings in known_terms().values() for iri, kind in meanings if kind == "@vocab"}
    assert meaning._of_terms() == vocabulary != set()


def test_no_two_members_and_no_two_types_are_read_as_one() -> None:
    """Of terms with one IRI the first is the class, the last the member; a badge goes by both its names."""
    by_iri: dict[str, set[str]] = defaultdict(set)
    for term, meanings in known_terms().items():
        for iri, _ in meanings:
            by_iri[iri].add(term)
    alike = {frozenset(terms) for terms in by_iri.values() if len(terms) > 1}
    assert alike == {
        frozenset({"AchievementCredential", "OpenBadgeCredential"}),
        frozenset({"Criteria", "criteria"}),
        frozenset({"Image", "image"}),
        frozenset({"GeoCoordinates", "geo"}),
    }


def said(document: dict) -> dict:
    return json_ld.Statement({name: member for name, member in document.items() if name != "proof"}).says


def test_order_decides_nothing() -> None:
    known = foreign_badge()
    turned = deepcopy(known)
    for entries in (
        turned["credentialSubject"]["result"],
        turned["credentialSubject"]["identifier"],
        turned["credentialSubject"]["achievement"]["alignment"],
        turned["type"],
    ):
        entries.reverse()
    assert turned != known
    assert said(turned) == said(known)


def test_the_order_of_a_signed_list_is_kept() -> None:
    document = badge()
    described = {"id": f"{ROOT}/marks", "type": "ResultDescription", "name": "Grade", "resultType": "LetterGrade"}
    for values in (["C", "A", "B"], ["B"]):
        document["credentialSubject"]["achievement"]["resultDescription"] = described | {"allowedValue": values}
        read = said(document)["credentialSubject"]["achievement"]["resultDescription"]["allowedValue"]
        assert read == values


def test_one_value_has_one_form() -> None:
    document = badge()
    subject = document["credentialSubject"]
    plain = said(badge(credentialSubject=subject | {"creditsEarned": 15}))
    for credits_ in (15.0, [15], [15, 15]):
        assert said(badge(credentialSubject=[subject | {"creditsEarned": credits_}])) == plain
    assert said(badge(issuer=DID))["issuer"] == said(badge(issuer={"id": DID}))["issuer"] == {"id": DID}


def test_an_issuer_is_named_where_only_another_place_names_it() -> None:
    """To RDF the creator and the issuer are one node: a name may be moved from one to the other."""
    document = badge()
    document["credentialSubject"]["achievement"]["creator"] = deepcopy(document["issuer"])
    known = sign(document)
    moved = deepcopy(known)
    del moved["issuer"]["name"]
    first, other = parsed(known), parsed(moved)
    assert first is not None
    assert other is not None
    assert first.signed == other.signed
    assert facts_of(other.document, other.kind) == facts_of(first.document, first.kind)
    assert facts_of(other.document, other.kind).issuer == "Other University"


# Nothing is put before what is signed


@pytest.mark.parametrize(
    "padding",
    [
        NOTHING,
        {"@value": None},
        {"@value": "x", "@language": ""},
        {"@value": "x", "@language": None},
        {"@value": "x", "@language": "e n"},
        {"@value": ["x"], "@language": "en"},
        {"@value": True, "@language": "en"},
        {"@value": "x", "@type": "@json"},
        {"@value": "x"},
        {"@language": "en"},
        {"@set": []},
        {"@list": []},
        {},
        [],
        None,
    ],
)
async def test_what_expansion_drops_is_refused(padding) -> None:
    genuine = sign(transcript([sign(badge())], partial=True))
    assert (await verify(genuine)).status is Status.VALID
    forged = genuine | {"partial": [padding, True]}
    assert (await verify(forged)).status is Status.UNCONFIRMED


async def test_a_result_is_not_pushed_off_the_page() -> None:
    results = [{"type": ["Result"], "value": value} for value in ("100", "Failed")]
    document = badge()
    document["credentialSubject"]["result"] = results
    forged = sign(document)
    forged["credentialSubject"]["result"] = [results[0], *[NOTHING] * 50, results[1]]
    assert (await verify(forged)).status is Status.UNCONFIRMED


# A type is the same by whatever name


async def test_a_record_is_one_by_its_full_name_too() -> None:
    genuine = sign(transcript([sign(badge(1) | foreign.listed(7))]))
    for kinds in (["VerifiableCredential", CLR_IRI], [CLR_IRI, "VerifiableCredential", "ClrCredential"]):
        got = await verify(genuine | {"type": kinds}, Elsewhere(7))
        assert (got.status, got.kind, len(got.parts)) == (Status.PARTLY_VALID, Kind.TRANSCRIPT, 1)
    token = as_jwt(transcript([sign(badge(1) | foreign.listed(7))], type=["VerifiableCredential", CLR_IRI]))
    got = await verify(token, Elsewhere(7))
    assert (got.status, got.kind) == (Status.PARTLY_VALID, Kind.TRANSCRIPT)


async def test_what_holds_credentials_is_examined_with_them_whatever_it_is_called() -> None:
    got = await verify(
        sign(transcript([sign(badge(1) | foreign.listed(7))], type=["VerifiableCredential"])), Elsewhere(7)
    )
    assert (got.status, failures(got)) == (Status.PARTLY_VALID, {"parts": "part_not_valid"})


async def test_a_badge_is_one_by_its_full_name_too() -> None:
    genuine = sign(badge())
    known = await verify(genuine)
    got = await verify(genuine | {"type": ["VerifiableCredential", BADGE_IRI]})
    assert facts_of(got.document, got.kind) == facts_of(known.document, known.kind)
    assert (got.kind, got.checks) == (Kind.BADGE, known.checks)


async def test_a_newer_version_is_asked_for_by_the_full_name_too() -> None:
    extensions = "https://purl.imsglobal.org/spec/ob/v3p0/extensions.json"
    document = badge(refreshService={"id": f"{ROOT}/refresh", "type": "1EdTechCredentialRefresh"})
    document["@context"] = [*document["@context"], extensions]
    old, new = sign(document), sign(document | {"validFrom": "2026-08-01T09:00:00Z"})
    named = deepcopy(old)
    named["refreshService"]["type"] = REFRESH_IRI
    for given in (old, named):
        assert (await verify(given, Elsewhere(**{f"{ROOT}/refresh": new}))).status is Status.REPLACED


async def test_an_enveloped_credential_may_name_its_context() -> None:
    """VC 2.0 asks for it."""
    envelope = {
        "@context": [foreign.VC_2],
        "id": f"data:application/vc+jwt,{as_jwt(badge(2))}",
        "type": ["EnvelopedVerifiableCredential"],
    }
    got = await verify(sign(transcript([envelope])))
    assert (got.status, len(got.parts)) == (Status.VALID, 1)
    elsewhere = await verify(sign(transcript([envelope])) | {"name": "Another"})
    assert failures(elsewhere) == {"proof": "signature_mismatch"}
    own = sign(transcript([envelope]))
    own["credentialSubject"]["verifiableCredential"][0]["@context"] = [{"name": "urn:x:y"}]
    assert failures(await verify(own)) == {"terms": contexts.UnknownContext.code}


@pytest.mark.parametrize(
    "head",
    ["data:application/vc+jwt;charset=utf-8", "data:application/VC+JWT; profile=x", "DATA:application/jwt;a=b;c=d"],
)
async def test_the_media_type_of_an_envelope_may_have_parameters(head) -> None:
    envelope = {"id": f"{head.replace(' ', '')},{as_jwt(badge(2))}", "type": "EnvelopedVerifiableCredential"}
    for got in (await verify(sign(transcript([envelope]))), await verify(as_jwt(transcript([envelope])))):
        assert (got.status, failures(got)) == (Status.VALID, {})


def _enveloped(address: str) -> dict:
    return {"id": address, "type": "EnvelopedVerifiableCredential"}


@pytest.mark.parametrize(
    ("part", "code"),
    [
        (_enveloped("data:application/vc+sd-jwt,eyJ.eyJ.x~WyJ~"), "envelope_unknown"),
        (_enveloped("data:application/vc+cose;base64,0oRD"), "envelope_unknown"),
        (_enveloped("data:application/vc+jwt;base64,ZXlK"), "envelope_unknown"),
        (_enveloped("https://other.example/badges/1.jwt"), "envelope_unknown"),
        (_enveloped("data:,"), "envelope_unknown"),
        (_enveloped("data:application/vc+jwt,nothing"), "not_credential"),
        (_enveloped("data:application/vc+jwt,aaaa.bbbb.cccc"), "not_token"),
        ("no credential", "not_credential"),
        ("aaaa.bbbb.cccc", "not_token"),
        ("<svg/>", "no_credential_in_image"),
    ],
)
async def test_one_part_that_is_not_read_keeps_nobody_from_reading_the_rest(part, code) -> None:
    given: list[str | dict] = [as_jwt(transcript([as_jwt(badge(1)), part]))]
    if isinstance(part, dict):
        given.append(sign(transcript([sign(badge(1)), part])))
    for one in given:
        got = await verify(one)
        assert (got.status, failures(got)) == (Status.PARTLY_VALID, {"parts": "part_not_valid"})
        assert [inner.status for inner in got.parts].count(Status.VALID) == 1
        (unread,) = [inner for inner in got.parts if not inner.verified]
        assert (unread.status, failures(unread)) == (Status.UNCONFIRMED, {"schema": code})


async def test_two_holders_badges_are_no_record_of_a_third_whatever_it_is_called() -> None:
    """Anybody may gather public badges under a name of their choice."""
    maker = f"did:key:{foreign.MULTIKEY}"
    record = transcript(
        [sign(badge(1)), sign(badge(2))], issuer={"id": maker, "type": ["Profile"], "name": "Elsewhere"}
    )
    genuine = sign(record, foreign.keys.LocalSigner(foreign.ED, f"{maker}#{foreign.MULTIKEY}"))
    for kinds in (["VerifiableCredential", "ClrCredential"], ["VerifiableCredential", CLR_IRI]):
        got = await verify(genuine | {"type": kinds})
        assert (got.status, failures(got)) == (Status.PARTLY_VALID, {"parts": "another_holder"})
