"""Open Badges: built to the published schemas, signed as PyLD would, checked by another verifier."""

import json
import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import FormatChecker
from jsonschema.validators import validator_for
from openbadgeslib.ob3 import OB3VerificationError
from pyld import jsonld

from credentials.adapters import keys as wrapped_keys
from credentials.domain import badges
from openbadges import canonical_templates, contexts, coverage, dids, json_ld, keys, proofs
from openbadges.signable import NotSignable
from shared.secret_box import SecretBox, SecretBoxError, derive_key

from .badges import (
    COURSE,
    DID,
    ISSUER,
    METHOD,
    MULTIKEY,
    NOW,
    SIGNER,
    SLOTS,
    Web,
    build,
    schema,
    second_opinion,
    values,
)


@pytest.fixture(scope="module")
def badge() -> dict:
    return canonical_templates.BadgeSigner(build, SLOTS, SIGNER).sign(values(7), NOW)


@pytest.mark.parametrize(
    "name", ["ob_v3p0_achievementcredential_schema.json", "strict/ob_v3p0_achievementcredential_schema.json"]
)
def test_a_badge_meets_the_published_schema(badge: dict, name: str, published_schemas: Path) -> None:
    published = schema(published_schemas, name)
    checker = validator_for(published)(published, format_checker=FormatChecker())
    assert [error.message for error in checker.iter_errors(badge)] == []


def test_a_badge_says_nothing_about_the_person(badge: dict) -> None:
    said = set(badge) | set(badge["credentialSubject"])
    assert said == {
        "@context", "id", "type", "name", "issuer", "validFrom", "awardedDate", "credentialSubject",
        "credentialSchema", "credentialStatus", "refreshService", "proof", "creditsEarned", "achievement", "identifier",
    }  # fmt: skip
    assert "ada" not in json.dumps(badge)


def test_a_badge_holds_and_another_verifier_agrees(badge: dict) -> None:
    assert proofs.holds(badge, badge["proof"][0], MULTIKEY)
    json_ld.check_terms(badge)
    second_opinion(badge)


def test_the_bounded_canonicaliser_is_pyld(badge: dict) -> None:
    unsigned = {name: member for name, member in badge.items() if name != "proof"}
    options: Any = {"algorithm": "URDNA2015", "format": "application/n-quads", "documentLoader": contexts.load}
    assert json_ld.canonicalise(unsigned) == jsonld.normalize(unsigned, options)


def test_a_changed_byte_in_the_subject_is_refused(badge: dict) -> None:
    changed = deepcopy(badge)
    changed["credentialSubject"]["achievement"]["name"] = "Bpplied Machine Learning"
    assert not proofs.holds(changed, changed["proof"][0], MULTIKEY)
    with pytest.raises(OB3VerificationError):
        second_opinion(changed)


def test_a_wrong_key_is_refused(badge: dict) -> None:
    other = dids.multikey(Ed25519PrivateKey.generate().public_key().public_bytes_raw())
    assert not proofs.holds(badge, badge["proof"][0], other)
    with pytest.raises(OB3VerificationError):
        second_opinion(badge, Web(multikey=other))


def test_a_revoked_bit_is_seen(badge: dict) -> None:
    with pytest.raises(OB3VerificationError, match="revocation"):
        second_opinion(badge, Web(revoked=(7,)))
    second_opinion(badge, Web(revoked=(6, 8)))


def test_a_dropped_proof_is_refused(badge: dict) -> None:
    bare = {name: member for name, member in badge.items() if name != "proof"}
    with pytest.raises(OB3VerificationError):
        second_opinion(bare)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda badge: badge.update(honours="first class"), coverage.UndefinedTerms),
        (
            lambda badge: badge["credentialSubject"].update(type=["AchievementSubject", "Doctor"]),
            coverage.UndefinedTerms,
        ),
        (
            lambda badge: badge["credentialSubject"]["achievement"].update(id="relative"),
            coverage.UndefinedTerms,
        ),
        (lambda badge: badge.update({"https://schema.org/validUntil": "never"}), coverage.UndefinedTerms),
        (lambda badge: badge.update({"@included": []}), coverage.UndefinedTerms),
        (
            lambda badge: badge.update(evidence=[{"id": badge["id"], "type": ["Evidence"], "name": "again"}]),
            coverage.UndefinedTerms,
        ),
        (lambda badge: badge["@context"].append({"honours": "urn:x:honours"}), contexts.UnknownContext),
        (lambda badge: badge.update(name="x" * json_ld.MOST_BYTES), json_ld.TooLarge),
    ],
)
def test_what_the_signature_would_not_cover_is_refused(
    badge: dict, change: Callable[[dict], object], refusal: type
) -> None:
    changed = deepcopy(badge)
    change(changed)
    with pytest.raises(refusal):
        json_ld.check_terms(changed)


def test_a_skill_without_an_absolute_address_is_refused() -> None:
    course = badges.Achievement(**{**vars(COURSE), "skills": (badges.Skill("x", "y", "no address"),)})
    with pytest.raises(NotSignable):
        badges.achievement_document(course, ISSUER)


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


@settings(max_examples=30, deadline=None)
@given(name=texts, criteria=texts, count=st.integers(0, 3), n=st.integers(1, 10**6))
def test_a_template_gives_the_bytes_of_pyld(name: str, criteria: str, count: int, n: int) -> None:
    """Also where unnamed parts are alike and the template steps back."""
    skills = tuple(badges.Skill(name, "ESCO", "http://example.org/same") for _ in range(count))
    course = badges.Achievement(**{**vars(COURSE), "name": name, "criteria": criteria, "skills": skills})
    template = canonical_templates.CanonicalTemplate(lambda filled: build(filled, course), SLOTS)
    for i in range(3):
        assert template.canonical(values(n + i)) == json_ld.canonicalise(build(values(n + i), course))


def test_a_template_that_differs_signs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    badge_signer = canonical_templates.BadgeSigner(build, SLOTS, SIGNER)
    monkeypatch.setattr(canonical_templates, "canonicalise", lambda _: "something else")
    with pytest.raises(canonical_templates.TemplateError):
        badge_signer.sign(values(), NOW)


def test_a_private_key_is_wrapped_and_bound_to_its_name() -> None:
    wrapping = SecretBox(os.urandom(32))
    made = wrapped_keys.new_key(wrapping, METHOD)
    signature = wrapped_keys.unwrap(made.wrapped, wrapping, METHOD).sign(b"x")
    assert keys.signed_by(made.public, signature, b"x")
    assert not keys.signed_by(made.public, signature, b"y")
    with pytest.raises(SecretBoxError):
        wrapped_keys.unwrap(made.wrapped, SecretBox(os.urandom(32)), METHOD)
    with pytest.raises(SecretBoxError):
        wrapped_keys.unwrap(made.wrapped, wrapping, f"{DID}#another")


def test_what_was_sealed_under_a_wrapping_key_opens_still() -> None:
    """Sealed by the first release."""
    wrapping = bytes(range(32))
    wrapped = bytes.fromhex(
        "12556de264189ce69cc98a54dbc0f4cc1be848e764c16209ea4af8815cffb2f7c894616b7afef2981c248d62d8ac4f9edd607277cd2f7b91"
        "a32ca2e1"
    )
    public = bytes.fromhex("ab1f274cb598f4fd80103613f5f4906b1fa8d73d601e52c9b62ad5e638049e55")
    assert keys.signed_by(public, wrapped_keys.unwrap(wrapped, SecretBox(wrapping), "did:web:a#b").sign(b"x"), b"x")
    sealed = bytes.fromhex(
        "65591f252cb12579bd0e83b7c0d18de76f4eedc6ac4e73672c5ad04338f157dbad41c01cec886277dacc826e4ee3"
    )
    secrets = SecretBox(derive_key(wrapping, "sealed secrets"))
    assert secrets.open(sealed, "webhook secret 1") == b"a webhook's secret"
