"""What is taken of changed credentials is taken elsewhere too: npm's @digitalbazaar/vc judges the same changes."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from random import Random

from openbadges import testing as foreign
from openbadges.contexts import PINNED, context_bytes
from openbadges.signable import instant
from openbadges.testing import DID, LIST, ROOT, Elsewhere, badge, listed, sign, transcript, verify
from shared.errors import DomainError

from .changes import CHANGES, change

_MULTIKEY = "https://w3id.org/security/multikey/v1"
_EACH = 150
_NOT_READ_THERE = {
    'Error: "credentialStatus.type" must be "BitstringStatusListEntry".',
    'Error: No "verificationMethod" found in proof.',
    'Error: "issuer" id is required.',
    "NotFoundError: Did not verify any proofs; insufficient proofs matched the acceptable suite(s) and required purpose(s).",
}
"""What the other library says of a list of one, or of a type by its IRI, where it reads the JSON as it stands."""
_ANY = 0.6
"""The share of changes that are any at all; most of those are refused by everybody."""
_OTHER_SPELLINGS = ["list", "spell", "spell beside", "reverse", "shuffle", "repeat"]


def rich_badge() -> dict:
    """With everything a page shows or a verdict depends on."""
    document = badge(1) | listed(7)
    document["credentialSubject"] |= {
        "creditsEarned": 15,
        "identifier": [
            {"type": "IdentityObject", "hashed": False, "identityType": "name", "identityHash": "Ada"},
            {"type": "IdentityObject", "hashed": False, "identityType": "systemId", "identityHash": "7"},
        ],
        "result": [{"type": ["Result"], "value": value} for value in ("100", "Failed")],
    }
    document["credentialSubject"]["achievement"] |= {
        "creator": {"id": DID, "type": ["Profile"], "name": "Other University"},
        "tag": ["metal", "heat"],
        "alignment": [{"type": ["Alignment"], "targetName": "Weld", "targetUrl": f"{ROOT}/skills/1"}],
    }
    return document


def pages(now: datetime) -> dict:
    contexts = {url: json.loads(context_bytes(url)) for url in PINNED}
    bundled = (files("openbadgeslib.ob3.contexts") / "security-multikey-v1.json").read_bytes()
    return {
        **contexts,
        _MULTIKEY: json.loads(bundled),
        f"{ROOT}/.well-known/did.json": foreign.did_document(),
        LIST: foreign.status_list(
            validFrom=instant(now - timedelta(minutes=1)), validUntil=instant(now + timedelta(days=1))
        ),
    }


async def test_what_is_taken_of_changed_credentials_is_taken_by_another_library(judge, clock) -> None:
    clock.at = now = datetime.now(UTC)  # theirs judges lists by the real time
    web = pages(now)
    signed = [sign(rich_badge()), sign(transcript([sign(rich_badge())], partial=True))]
    at_random, taken = Random(7), list(signed)  # noqa: S311 - the same changes in every run
    for known in signed:
        for _ in range(_EACH):
            forged = deepcopy(known)
            ways = CHANGES if at_random.random() < _ANY else _OTHER_SPELLINGS
            change(forged, at_random.choice(ways), at_random.randrange(1000), at_random.randrange(1000))
            try:
                stands = (await verify(forged, Elsewhere(**web), now=now)).verified
            except DomainError:
                continue
            if stands and forged != known:
                taken.append(forged)
    verdicts = judge(web, *taken)
    assert len(taken) > _EACH // 5
    assert [verdict["errors"] for verdict in verdicts[: len(signed)]] == [[]] * len(signed)
    refused = [one["errors"] for one in verdicts if not one["verified"] and not _NOT_READ_THERE & set(one["errors"])]
    assert refused == []
    assert sum(verdict["verified"] for verdict in verdicts) > len(verdicts) // 2
