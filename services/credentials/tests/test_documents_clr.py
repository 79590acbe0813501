"""Transcripts as Comprehensive Learner Records: built to the published schema, whole, and checked by another verifier."""

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jsonschema import FormatChecker
from jsonschema.validators import validator_for
from openbadgeslib.ob3 import OB3VerificationError
from openbadgeslib.ob3.clr import bundled_clr_contexts
from openbadgeslib.ob3.ldp import verify_data_integrity_proof

from credentials.domain import learner_records
from credentials.domain.learner_records import Part
from openbadges import json_ld, proofs

from .badges import KEY, MULTIKEY, ROOT, schema
from .clr import STATUS, record

PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture(scope="module")
def signed() -> dict:
    return record()


def errors(published_schemas: Path, document: dict, name: str) -> list[str]:
    found = schema(published_schemas, name)
    checker = validator_for(found)(found, format_checker=FormatChecker())
    return [f"{error.json_path}: {error.message[:200]}" for error in checker.iter_errors(document)]


def second_opinion(document: dict) -> None:
    """openbadgeslib: raises unless the proof holds, with contexts of its own."""
    verify_data_integrity_proof(document, PEM, extra_contexts=bundled_clr_contexts())


def test_a_record_meets_the_published_schema(signed: dict, published_schemas: Path) -> None:
    assert errors(published_schemas, signed, "clr_v2p0_clrcredential_schema.json") == []


@pytest.mark.parametrize(
    "name", ["ob_v3p0_achievementcredential_schema.json", "strict/ob_v3p0_achievementcredential_schema.json"]
)
def test_everything_inside_meets_the_badges_schema(signed: dict, name: str, published_schemas: Path) -> None:
    for leaf in signed["credentialSubject"]["verifiableCredential"]:
        assert errors(published_schemas, leaf, name) == []


def test_another_verifier_agrees_on_the_record_and_each_credential_inside(signed: dict) -> None:
    second_opinion(signed)
    for leaf in signed["credentialSubject"]["verifiableCredential"]:
        second_opinion(leaf)


def test_nothing_in_it_is_outside_the_signature(signed: dict) -> None:
    json_ld.check_terms(signed)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["credentialSubject"]["verifiableCredential"].pop(0),
        lambda d: d["credentialSubject"]["verifiableCredential"].pop(),
        lambda d: d["credentialSubject"]["identifier"][0].update(identityHash="Zoe Muller"),
        lambda d: d["credentialSubject"]["association"].pop(),
        lambda d: d.update(awardedDate="2020-01-01T00:00:00Z"),
        lambda d: d.update(partial=True),
        lambda d: d["credentialStatus"].update(statusListIndex="94568"),
        lambda d: d["credentialSubject"]["verifiableCredential"][-1]["credentialSubject"]["result"][0].update(
            value="69"
        ),
    ],
)
def test_whatever_is_changed_or_left_out_breaks_the_signature(signed: dict, change: Callable[[dict], object]) -> None:
    changed = deepcopy(signed)
    change(changed)
    assert not proofs.holds(changed, changed["proof"][0], MULTIKEY)
    with pytest.raises(OB3VerificationError):
        second_opinion(changed)


def test_marks_and_attempts_stand_in_a_credential_of_their_own(signed: dict) -> None:
    *held, results = signed["credentialSubject"]["verifiableCredential"]
    assert all("result" not in leaf["credentialSubject"] for leaf in held)
    described = {one["id"]: one["name"] for one in results["credentialSubject"]["achievement"]["resultDescription"]}
    stated = [(described[one["resultDescription"]], one["value"]) for one in results["credentialSubject"]["result"]]
    assert stated[:2] == [("Mark: Course (7DS501)", "68"), ("Attempt: Course (7DS501)", "1")]
    assert len(record(2, results=False)["credentialSubject"]["verifiableCredential"]) == 3


def test_courses_are_part_of_the_award_they_build_to(signed: dict) -> None:
    assert [
        (one["associationType"], one["sourceId"], one["targetId"]) for one in signed["credentialSubject"]["association"]
    ] == [("isPartOf", f"{ROOT}/achievements/{n}", f"{ROOT}/achievements/4") for n in range(4)]


def test_it_can_be_revoked_and_its_results_with_it(signed: dict) -> None:
    *_, results = signed["credentialSubject"]["verifiableCredential"]
    assert signed["credentialStatus"] == results["credentialStatus"] == STATUS


def test_it_names_its_holder(signed: dict) -> None:
    (identity,) = signed["credentialSubject"]["identifier"]
    assert (identity["identityType"], identity["identityHash"]) == ("name", "Zoë Müller-Łukasiewicz")


def test_a_record_is_partial_unless_it_holds_everything(published_schemas: Path) -> None:
    whole = [Part("a", {"id": "x"})]
    assert not learner_records.is_partial(whole, selected=False)
    assert learner_records.is_partial(whole, selected=True)
    assert learner_records.is_partial([*whole, Part("b", None)], selected=False)
    partial = record(1, partial=True)
    assert partial["partial"] is True
    second_opinion(partial)
    assert errors(published_schemas, partial, "clr_v2p0_clrcredential_schema.json") == []


def test_a_record_of_many_courses_is_signed_and_read() -> None:
    many = record(24)
    assert proofs.holds(many, many["proof"][0], MULTIKEY)
    second_opinion(many)
