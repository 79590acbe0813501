"""What is signed and published: texts, contexts, proofs, keys, status lists, and many like badges at once."""

import json
import time
from collections.abc import Mapping
from copy import deepcopy
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyld import jsonld

from openbadges import canonical_templates, contexts, coverage, dids, json_ld, keys, proofs, tokens
from openbadges.badges import CONTEXTS, badge_document, identity_hash
from openbadges.signable import NotSignable, instant, iri, text
from openbadges.status_lists import BadStatusList, is_set
from openbadges.testing import DID, ED, METHOD, MULTIKEY, NOW, ROOT, SIGNER, status_list
from openbadges.verification import here

SLOTS = ("credential_url", "subject", "salt", "identity_hash")


def values(n: int = 0) -> dict[str, str]:
    return {
        "credential_url": f"{ROOT}/credentials/{n}",
        "subject": f"urn:uuid:00000000-0000-4000-8000-{n:012}",
        "identity_hash": identity_hash("ada@example.org", f"{n:032x}"),
        "salt": f"{n:032x}",
    }


def build(
    filled: Mapping[str, str], *, name: str = 'Models that "learn", é, 100% (x) %(subject)s, 学习\nand', skills=()
) -> dict:
    identity = {"type": "IdentityObject", "hashed": True, "identityType": "emailAddress"}
    return badge_document(
        filled["credential_url"],
        "Learning",
        issuer={"id": DID, "name": "Other University"},
        subject={
            "id": filled["subject"],
            "identifier": [identity | {"identityHash": filled["identity_hash"], "salt": filled["salt"]}],
        },
        achievement={
            "id": f"{ROOT}/achievements/1",
            "type": ["Achievement"],
            "name": name,
            "description": "d",
            "criteria": {"narrative": "n"},
            "alignment": [
                {"type": ["Alignment"], "targetName": one, "targetUrl": "http://example.org/same"} for one in skills
            ],
        },
        valid_from=NOW,
    )


async def test_a_key_that_is_its_own_issuer_needs_no_network() -> None:
    signer = keys.new_did_key()
    document = build(values()) | {"issuer": {"id": signer.did, "type": ["Profile"], "name": "A school"}}
    for signed in (json.dumps(proofs.sign(document, signer, NOW)), tokens.sign(document, signer)):
        assert (await here.verify(signed.encode(), NOW)).verified
    forged = json.dumps(proofs.sign(document, signer, NOW)).replace("Learning", "Teaching")
    assert not (await here.verify(forged.encode(), NOW)).verified


def test_an_instant_of_a_badge_may_be_given_in_either_form() -> None:
    given = {"issuer": {"id": DID}, "subject": {}, "achievement": {}}
    by_instant, by_text = (badge_document("urn:x:y", "n", valid_from=at, **given) for at in (NOW, instant(NOW)))
    assert by_instant == by_text


def test_the_bounded_canonicaliser_is_pyld() -> None:
    options: Any = {"algorithm": "URDNA2015", "format": "application/n-quads", "documentLoader": contexts.load}
    assert json_ld.canonicalise(build(values())) == jsonld.normalize(build(values()), options)


def test_a_changed_byte_or_another_key_is_refused() -> None:
    signed = proofs.sign(build(values()), SIGNER, NOW)
    assert proofs.holds(signed, signed["proof"][0], MULTIKEY)
    changed = deepcopy(signed)
    changed["credentialSubject"]["achievement"]["description"] = "e"
    assert not proofs.holds(changed, changed["proof"][0], MULTIKEY)
    other = keys.new_did_key().did.removeprefix("did:key:")
    assert not proofs.holds(signed, signed["proof"][0], other)


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(name=texts, count=st.integers(0, 3), n=st.integers(1, 10**6))
def test_a_template_gives_the_bytes_of_pyld(name: str, count: int, n: int) -> None:
    """Also where unnamed parts are alike and the template steps back."""

    def made(filled: Mapping[str, str]) -> dict:
        return build(filled, name=name, skills=[name] * count)

    template = canonical_templates.CanonicalTemplate(made, SLOTS)
    for i in range(3):
        assert template.canonical(values(n + i)) == json_ld.canonicalise(made(values(n + i)))


def test_a_template_that_differs_signs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    badge_signer = canonical_templates.BadgeSigner(build, SLOTS, SIGNER)
    monkeypatch.setattr(canonical_templates, "canonicalise", lambda _: "something else")
    with pytest.raises(canonical_templates.TemplateError):
        badge_signer.sign(values(), NOW)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "https://www.w3.org/ns/credentials/v2",
            "59955ced6697d61e03f2b2556febe5308ab16842846f5b586d7f1f7adec92734",
        ),
        (CONTEXTS[1], "3d34f4d4ef1bce691106e63798beb5e7b862ba841423f5ee1e53ab7ddf3bca84"),
        (CONTEXTS[2], "87c06c81bc2317663bf288d740d94fddd2818c4342b186270ff6371dfaa63f93"),
    ],
)
def test_contexts_are_the_published_ones(url: str, expected: str) -> None:
    assert sha256(contexts.context_bytes(url)).hexdigest() == expected


def test_no_other_context_is_loaded() -> None:
    with pytest.raises(contexts.UnknownContext):
        json_ld.canonicalise({"@context": "https://example.org/elsewhere", "id": "urn:x:y"})


def test_a_document_built_to_be_slow_is_refused_quickly() -> None:
    """Twelve unnamed parts, each related to each, would take the plain algorithm for ever."""
    names = [f"_:x{n}" for n in range(12)]
    alike = [{"id": one, "type": ["Profile"], "endorsement": [{"id": other} for other in names]} for one in names]
    document = {"@context": list(CONTEXTS), "id": "urn:x:y", "type": "VerifiableCredential"}
    document |= {"issuer": alike[0], "credentialSubject": alike[1:]}
    started = time.process_time()
    with pytest.raises(json_ld.NotCanonical):
        json_ld.canonicalise(document)
    assert time.process_time() - started < 5


@pytest.mark.parametrize("bad", ["bell \x07", "null \x00", "delete \x7f"])
def test_control_characters_are_refused(bad: str) -> None:
    with pytest.raises(NotSignable):
        text(bad)


@pytest.mark.parametrize("address", ["https://x\u2009y", "https://x\u00a0", "https://x y", "https://x|y", "x", "_:a"])
def test_what_the_verifier_takes_for_no_address_is_not_signed_as_one(address: str) -> None:
    with pytest.raises(NotSignable):
        iri(address)
    with pytest.raises(coverage.UndefinedTerms):
        json_ld.check_terms({"@context": [CONTEXTS[0]], "id": address, "type": ["VerifiableCredential"]})


def test_a_status_list_is_long_signed_and_readable() -> None:
    page = status_list(0, 9, 131_071)
    assert proofs.holds(page, page["proof"][0], MULTIKEY)
    encoded = page["credentialSubject"]["encodedList"]
    assert [n for n in (0, 1, 9, 131_070, 131_071) if is_set(encoded, n)] == [0, 9, 131_071]
    with pytest.raises(BadStatusList):
        is_set(encoded, 131_072)
    with pytest.raises(BadStatusList):
        is_set("uH4sIAAAA", 0)
    with pytest.raises(BadStatusList):
        is_set("H4sI", 0)


@pytest.mark.parametrize("suite", keys.Suite)
def test_a_private_key_that_was_stored_signs_again(suite: keys.Suite) -> None:
    made = keys.new_key(suite)
    signer = keys.signer_with(made.private, METHOD, suite)
    signature = signer.sign(b"x")
    assert signer.verification_method == METHOD
    assert len(signature) == 64
    assert keys.signed_by(made.public, signature, b"x") is (suite == keys.Suite.EDDSA_RDFC_2022)
    assert not keys.signed_by(made.public, signature, b"y")
    assert str(made.private) not in repr(made)


def test_a_private_key_of_another_suite_is_refused() -> None:
    for suite, other in zip(keys.Suite, reversed(keys.Suite), strict=True):
        with pytest.raises(ValueError):  # noqa: PT011 - the words are those of the library beneath
            keys.signer_with(keys.new_key(other).private, METHOD, suite)


def test_base58_and_multikeys() -> None:
    for data in (b"", b"\0\0a", bytes(range(64))):
        assert dids.unbase58(dids.base58(data)) == data
    assert dids.public_key(MULTIKEY) == ED.public_key().public_bytes_raw()
    for wrong in ("", "z", "zDn", MULTIKEY[:-1], "m" + MULTIKEY[1:], MULTIKEY.replace("6", "0", 1)):
        with pytest.raises(ValueError):  # noqa: PT011
            dids.public_key(wrong)


@pytest.mark.parametrize(
    ("url", "did"),
    [
        ("https://badges.example.ac.uk", "did:web:badges.example.ac.uk"),
        ("http://localhost:8000", "did:web:localhost%3A8000"),
        ("https://example.org/a/b", "did:web:example.org:a:b"),
    ],
)
def test_an_issuer_is_named_by_its_address(url: str, did: str) -> None:
    assert dids.did_of(url) == did
