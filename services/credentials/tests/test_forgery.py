"""Nobody makes another credential of a signed one: whatever changes what is read changes what was signed.

Two read a credential, the page its JSON and the signature its RDF. Every change is given to our verifier, and what
another library refuses is refused here.
"""

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from openbadgeslib.ob3 import OB3VerificationError

from credentials.adapters import json_ld
from credentials.adapters.facts import facts_of
from credentials.adapters.verification import Limits
from credentials.adapters.verification.examination import Examined, examine
from shared.errors import Refusal
from shared.ids import new_id

from . import test_badges, test_documents_clr
from .telling import hold_credit, let_time_work

THIN = "\u2009"
ISSUED = "https://badges.example.ac.uk"


@cache
def genuine_badge() -> dict:
    return test_badges.templates.Press(test_badges.build, test_badges.SLOTS, test_badges.SIGNER).sign(
        test_badges.values(7), test_badges.NOW
    )


@cache
def foreign_badge() -> dict:
    """With everything a page shows."""
    document = test_badges.build(test_badges.values(7))
    results = [
        {"id": f"urn:result:{n}", "type": ["Result"], "resultDescription": f"{ISSUED}/marks", "value": value}
        for n, value in enumerate(("100", "Failed"))
    ]
    document["credentialSubject"] |= {"result": results}
    document["credentialSubject"]["identifier"].append(
        {"type": "IdentityObject", "hashed": False, "identityType": "name", "identityHash": "Ada"}
    )
    document["credentialSubject"]["achievement"] |= {
        "resultDescription": [
            {"id": f"{ISSUED}/marks", "type": ["ResultDescription"], "name": "Mark", "resultType": "Percent"}
        ],
        "creator": {"id": test_badges.DID, "type": ["Profile"], "name": "University of Example"},
        "tag": ["a", "b"],
    }
    document["evidence"] = [deepcopy(results[1])]
    return test_badges.proofs.sign(document, test_badges.SIGNER, test_badges.NOW)


@cache
def genuine_record() -> dict:
    return test_badges.proofs.sign(test_documents_clr.record(2, partial=True), test_badges.SIGNER, test_badges.NOW)


def examined(document: dict) -> Examined | None:
    """None: refused as it stands."""
    try:
        found = examine(json.dumps(document).encode(), Limits())
    except Refusal:
        return None
    return found if found.readable and found.signed is not None else None


def has_same_signature(found: Examined | None, known: Examined | None) -> bool:
    assert known is not None
    return found is not None and found.signed == known.signed


def is_accepted_by_another(document: dict) -> bool:
    try:
        test_badges.second_opinion(document)
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
    """The place in the status list is told where no verifier looks for it."""
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
    assert examined(genuine) is not None
    assert is_accepted_by_another(genuine)
    forged = forge(genuine)
    assert not has_same_signature(examined(forged), examined(genuine))
    assert not is_accepted_by_another(forged)


def test_names_of_another_host_by_two_slashes_are_refused() -> None:
    with pytest.raises(json_ld.UndefinedTerms):
        json_ld.check_terms(added_name(genuine_badge(), "//badges.example.ac.uk/x"))


def moved(genuine: dict) -> dict:
    """That it was failed is told in another place alone; to RDF both are one."""
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
    assert examined(genuine) is not None
    assert not has_same_signature(examined(change(genuine)), examined(genuine))


def test_a_part_of_a_record_is_not_called_the_whole() -> None:
    """To RDF `true` and "true" are one; to whoever reads the JSON they are not."""
    genuine = genuine_record()
    assert genuine["partial"] is True
    for partial in ("true", None):
        assert not has_same_signature(examined(genuine | {"partial": partial}), examined(genuine))


# Any change at all

_POOL = [
    *(f"urn:x:{THIN}y", "_:a", "//badges.example.ac.uk/x", "relative", "urn:x:y", "https://x\n", "", " "),
    *("2099-01-01T00:00:00Z", "true", "15", "name", "Ada", test_badges.DID, "OpenBadgeCredential"),
    *(None, True, False, 0, 15, 15.0, 1e40, [], {}, [None], [[]], {"id": "urn:x:y"}, {"id": f"x:{THIN}"}),
]
_TERMS = [
    *("id", "type", "name", "issuer", "validUntil", "validFrom", "credentialSubject", "credentialStatus", "evidence"),
    *("refreshService", "achievement", "identifier", "identityHash", "result", "value", "partial", "proof", "honours"),
    *("creditsEarned", "hashed", "identityType", "endorsement", "awardedDate", "description", "https://x/y", "@graph"),
]
_CHANGES = ["replace", "add", "drop", "wrap", "repeat", "reverse", "copy", "move", "space", "list"]


def places(value: object, path: tuple = ()) -> Iterator[tuple]:
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in entries:
        yield from places(member, (*path, key))


def at(document: object, path: tuple) -> object:
    for key in path:
        document = document[key]
    return document


def change(document: dict, how: str, one: int, other: int) -> None:  # noqa: C901 - a list of ways
    known = list(places(document))[1:]
    if not known:
        return
    path = known[one % len(known)]
    parent, key, value = at(document, path[:-1]), path[-1], at(document, path)
    containers = [place for place in ((), *known) if isinstance(at(document, place), dict)]
    target, term = at(document, containers[other % len(containers)]), _TERMS[other % len(_TERMS)]
    match how:
        case "replace":
            parent[key] = deepcopy(_POOL[other % len(_POOL)])
        case "add":
            target[_TERMS[one % len(_TERMS)]] = deepcopy(_POOL[other % len(_POOL)])
        case "drop":
            del parent[key]
        case "wrap":
            parent[key] = {"id": "urn:x:w", term: value}
        case "list":
            parent[key] = [value]
        case "repeat" if isinstance(parent, list):
            parent.append(deepcopy(value))
        case "reverse" if isinstance(value, list):
            value.reverse()
        case "copy":
            target[term] = deepcopy(value)
        case "move":
            del parent[key]
            target[key if isinstance(key, str) else term] = value
        case "space" if isinstance(value, str):
            cut = other % (len(value) + 1)
            parent[key] = value[:cut] + THIN + value[cut:]
        case _:
            pass


def normal(value: object, name: str = "") -> object:
    """As every reader of JSON-LD takes it: order in a list, a list of one, and the notation of a number mean nothing."""
    if isinstance(value, dict):
        members = {key: normal(member, key) for key, member in value.items() if member != [] and key != "@context"}
        return {"id": members["id"]} if name == "creator" and members.get("id") == test_badges.DID else members
    if isinstance(value, list):
        entries = [normal(entry, name) for entry in value]
        kept = {json.dumps(entry, sort_keys=True): entry for entry in entries}
        unnamed = [entry for entry in entries if isinstance(entry, dict) and "id" not in entry]
        if name == "type":
            kept = {key.replace("AchievementCredential", "OpenBadgeCredential"): None for key in kept}
        told = sorted([*kept, *(json.dumps(entry, sort_keys=True) for entry in unnamed)])
        return told if len(told) != 1 else normal(value[0], name)
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def read(document: dict, found: Examined) -> tuple:
    """What is shown and judged."""
    facts = facts_of(found.document, found.kind)
    shown = {key: sorted(map(str, value)) if isinstance(value, list) else value for key, value in vars(facts).items()}
    return found.kind, shown, normal({key: member for key, member in document.items() if key != "proof"})


@pytest.mark.parametrize("genuine", [genuine_badge, foreign_badge, genuine_record])
def test_any_change_of_what_is_read_changes_what_is_signed(genuine) -> None:
    known = genuine()
    original = examined(known)
    assert original is not None

    @settings(max_examples=150, deadline=None)
    @example([("space", 3, 30)])
    @given(st.lists(st.tuples(st.sampled_from(_CHANGES), st.integers(0, 999), st.integers(0, 999)), min_size=1))
    def holds(changes: list[tuple[str, int, int]]) -> None:
        forged = deepcopy(known)
        for how, one, other in changes[:4]:
            change(forged, how, one, other)
        found = examined(forged)
        if not has_same_signature(found, original):
            return
        assert found is not None
        assert read(forged, found) == read(known, original), (changes, forged)

    holds()


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
