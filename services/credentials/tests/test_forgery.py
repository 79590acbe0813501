"""Nobody makes another credential of a signed one: whatever changes what is read changes what was signed.

Two read a credential, the page its JSON and the signature its RDF. Every change is given to our verifier, and what
another library refuses is refused here.
"""

import json
from copy import deepcopy

import pytest
from openbadgeslib.ob3 import OB3VerificationError

from openbadges import coverage, json_ld, proofs
from openbadges.facts import facts_of
from openbadges.verification.report import Kind
from shared.ids import new_id

from .announcements import hold_credit, let_time_work
from .badges import DID, NOW, SIGNER, build, second_opinion, values
from .forged import (
    THIN,
    at,
    foreign_badge,
    genuine_badge,
    genuine_record,
    has_same_signature,
    parsed,
    presented,
)


def is_accepted_by_another(document: dict) -> bool:
    try:
        second_opinion(document)
    except (OB3VerificationError, KeyError):
        return False
    return True


# Each a lie that fits the genuine signature, or fitted it


def lie(genuine: dict) -> dict:
    """The lie outside, with names RDF has no room for; the genuine badge rides inside, its proof is taken out."""
    inside = {name: member for name, member in genuine.items() if name not in {"@context", "proof"}}
    return {
        "@context": genuine["@context"],
        "id": f"https://badges.example.ac.uk/credentials/{THIN}1",
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": "Doctor of Medicine",
        "issuer": {"id": genuine["issuer"]["id"], "type": ["Profile"]},
        "validFrom": "2026-01-01T00:00:00Z",
        "credentialSubject": {
            "id": f"urn:x{THIN}:mallory",
            "type": ["AchievementSubject"],
            "creditsEarned": 360,
            "achievement": {
                "id": f"https://x{THIN}y",
                "type": ["Achievement"],
                "name": "Doctor of Medicine",
                "description": "x",
                "criteria": {"id": f"https://x{THIN}z", "narrative": "y"},
            },
        },
        "evidence": [inside],
        "proof": genuine["proof"],
    }


def added_name(genuine: dict, name: str) -> dict:
    forged = deepcopy(genuine)
    forged["credentialSubject"]["identifier"].append(
        {"id": name, "type": "IdentityObject", "hashed": False, "identityType": "name", "identityHash": "Mallory"}
    )
    return forged


def nested(genuine: dict) -> dict:
    forged = deepcopy(genuine)
    forged["credentialSubject"]["identifier"] = [forged["credentialSubject"]["identifier"]]
    return forged


def without_revocation(genuine: dict) -> dict:
    """The place in the status list stands where no verifier looks for it."""
    forged = deepcopy(genuine)
    forged["evidence"] = [forged.pop("credentialStatus")]
    return forged


def endless(genuine: dict) -> dict:
    forged = deepcopy(genuine)
    proof = forged["proof"][0]
    forged["proof"] = [{**proof, "id": f"urn:x:{THIN}1", "expires": "2099-01-01T00:00:00Z", "evidence": proof}]
    return forged


def unsaid(genuine: dict) -> dict:
    forged = deepcopy(genuine)
    forged["credentialSubject"]["achievement"]["type"] = ["Achievement", f"urn:x:{THIN}"]
    return forged


SPACED = ["class awarded", f"name{THIN}", " credentialSubject", "na\tme", "na\u3000me", "na\u0085me", 'na"me', "<name>"]


def said_beside(*path: str | int):
    """A member whose name RDF has no room for, in one place."""

    def forge(genuine: dict, name: str) -> dict:
        forged = deepcopy(genuine)
        at(forged, path)[name] = "First Class Honours"
        return forged

    return forge


FORGERIES = {
    "thin space": lie,
    "name in a thin space": lambda known: added_name(known, f"urn:x:{THIN}y"),
    "name in a line end": lambda known: added_name(known, "urn:x:y\n"),
    "name nowhere": lambda known: added_name(known, "mallory"),
    "list in a list": nested,
    "status moved": without_revocation,
    "proof in a proof": endless,
    "type in a thin space": unsaid,
}


@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
def test_a_forgery_without_a_key_is_refused_here_as_elsewhere(forge) -> None:
    genuine = genuine_badge()
    assert parsed(genuine) is not None
    assert is_accepted_by_another(genuine)
    forged = forge(genuine)
    assert not has_same_signature(parsed(forged), parsed(genuine))
    assert not is_accepted_by_another(forged)


@pytest.mark.parametrize("name", SPACED)
@pytest.mark.parametrize(
    "path", [(), ("credentialSubject",), ("credentialSubject", "achievement", "criteria"), ("proof", 0)]
)
def test_no_member_is_added_whose_name_is_none(path, name) -> None:
    """PyLD leaves out such a member without a word."""
    forged = said_beside(*path)(genuine_badge(), name)
    assert not has_same_signature(parsed(forged), parsed(genuine_badge()))
    assert not is_accepted_by_another(forged)
    with pytest.raises(coverage.UndefinedTerms) as refused:
        json_ld.check_terms(forged)
    assert name in refused.value.extras["terms"]


def test_what_no_context_defines_is_not_signed() -> None:
    """Nor taken where another library signed it: there the whole credential within is left out."""
    known = presented(*build(values(7))["@context"])
    genuine = proofs.sign(known, SIGNER, NOW)
    assert parsed(genuine) is not None
    forged = deepcopy(genuine)
    forged["evidence"]["verifiableCredential"]["credentialSubject"]["achievement"]["honours"] = "First"
    for document in (forged, presented()):
        with pytest.raises(coverage.UndefinedTerms):
            json_ld.check_terms(document)
        with pytest.raises(coverage.UndefinedTerms):
            json_ld.canonicalise({key: member for key, member in document.items() if key != "proof"})


def test_names_of_another_host_by_two_slashes_are_refused() -> None:
    with pytest.raises(coverage.UndefinedTerms):
        json_ld.check_terms(added_name(genuine_badge(), "//badges.example.ac.uk/x"))


def moved(genuine: dict) -> dict:
    """That it was failed stands in another place alone; to RDF both are one."""
    forged = deepcopy(genuine)
    forged["credentialSubject"]["result"][1].pop("value")
    return forged


def repeated(genuine: dict) -> dict:
    forged = deepcopy(genuine)
    passed, failed = forged["credentialSubject"]["result"]
    forged["credentialSubject"]["result"] = [passed] * 60 + [failed]
    return forged


@pytest.mark.parametrize("change", [moved, repeated])
def test_a_signed_result_is_not_hidden(change) -> None:
    genuine = foreign_badge()
    assert parsed(genuine) is not None
    assert not has_same_signature(parsed(change(genuine)), parsed(genuine))


LEARNER = "did:example:learner"


def said_by_the_learner() -> dict:
    """A badge whose subject is also the source of something, as an issuer or image is named in several places."""
    document = deepcopy(build(values(7)))
    document["credentialSubject"] |= {
        "id": LEARNER,
        "result": [{"type": ["Result"], "value": "Failed"}],
        "source": {"id": LEARNER, "type": ["Profile"], "name": "Ada"},
    }
    return proofs.sign(document, SIGNER, NOW)


def self_issued() -> dict:
    document = deepcopy(build(values(7)))
    document["credentialSubject"] |= {"id": DID, "result": [{"type": ["Result"], "value": "Failed"}]}
    return proofs.sign(document, SIGNER, NOW)


def to_the_source(forged: dict) -> None:
    subject = forged["credentialSubject"]
    subject["source"]["type"] = ["Profile", "AchievementSubject"]
    subject["source"]["result"] = subject.pop("result")


def to_the_issuer(forged: dict) -> None:
    forged["issuer"]["type"] = ["Profile", "AchievementSubject"]
    forged["issuer"]["result"] = forged["credentialSubject"].pop("result")


@pytest.mark.parametrize(("genuine", "move"), [(said_by_the_learner, to_the_source), (self_issued, to_the_issuer)])
def test_what_is_read_of_a_subject_stands_in_one_place(genuine, move) -> None:
    known = genuine()
    assert parsed(known) is not None
    assert is_accepted_by_another(known)
    forged = deepcopy(known)
    move(forged)
    assert not has_same_signature(parsed(forged), parsed(known))


def test_an_issuer_has_one_name() -> None:
    document = deepcopy(build(values(7)))
    document["credentialSubject"]["achievement"]["creator"] = {
        "id": DID, "type": ["Profile"], "name": "Faculty of Medicine"
    }  # fmt: skip
    with pytest.raises(coverage.Ambiguous):
        json_ld.check_terms(document)


def test_an_achievement_may_be_related_to_itself() -> None:
    document = deepcopy(build(values(7)))
    achievement = document["credentialSubject"]["achievement"]
    achievement["related"] = [{"type": ["Related"], "id": achievement["id"]}]
    json_ld.check_terms(document)
    achievement["related"][0]["version"] = "2"
    with pytest.raises(coverage.Ambiguous):
        json_ld.check_terms(document)


def test_a_second_subject_is_counted_where_it_is_not_shown() -> None:
    two = {"credentialSubject": [{"id": "urn:x:a"}, {"id": "urn:x:b"}]}
    assert facts_of(two, Kind.OTHER).left_out == 1


def test_a_part_of_a_record_is_not_called_the_whole() -> None:
    """To RDF `true` and "true" are one; to whoever reads the JSON they are not."""
    genuine = genuine_record()
    assert genuine["partial"] is True
    for partial in ("true", None):
        assert not has_same_signature(parsed(genuine | {"partial": partial}), parsed(genuine))


# At the doors


async def test_no_badge_of_ours_becomes_another(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    await let_time_work(service)
    async with service.client("learner", id=learner) as client:
        badge_id = (await client.get("/v1/badges")).json()["items"][0]["badge_id"]
        genuine = (await client.get(f"/credentials/{badge_id}")).json()
    forged = json.dumps(lie(genuine))
    async with service.client() as anyone:
        answer = (await anyone.post("/v1/verifications", content=forged)).json()
        page = await anyone.post("/verify", files={"file": ("badge", forged)})
    assert (answer["verified"], answer["status"]) == (False, "unconfirmed")
    assert {check["code"] for check in answer["checks"] if check["name"] == "terms"} == {"undefined_terms"}
    assert "<strong>Not confirmed</strong>" in page.text
    assert "one of our own" not in page.text
