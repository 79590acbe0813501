"""Badges built with a key of the tests."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from openbadgeslib.ob3 import OB3LdpVerifier

from credentials.adapters import credential_issuer
from credentials.domain import badges
from openbadges import dids, keys, proofs
from openbadges.badges import identity_hash
from openbadges.signable import instant
from openbadges.status_lists import status_list_document

NOW = datetime.now(UTC)
DID = "did:web:badges.example.ac.uk"
METHOD = f"{DID}#key-2026"
ROOT = "https://badges.example.ac.uk"
LIST = f"{ROOT}/status/revocation/1"
ISSUER = badges.Issuer(DID, "University of Example", ROOT)
KEY = Ed25519PrivateKey.generate()
SIGNER = keys.LocalSigner(KEY, METHOD)
MULTIKEY = dids.multikey(KEY.public_key().public_bytes_raw())
COURSE = badges.Achievement(
    url=f"{ROOT}/achievements/7DS501",
    kind="MicroCredential",
    name="Applied Machine Learning",
    code="7DS501",
    description='Models that "learn", é, 100% (x) %(subject)s, 学习\nand more',
    criteria="Pass one project.",
    credits=15,
    level=7,
    skills=(
        badges.Skill("utilise machine learning", "ESCO", "http://data.europa.eu/esco/skill/1"),
        badges.Skill("statistics", "ESCO", "http://data.europa.eu/esco/skill/2"),
    ),
)
SLOTS = (*credential_issuer._SLOTS, *credential_issuer._IDENTITY)


def values(n: int = 0) -> dict[str, str]:
    return {
        "credential_url": f"{ROOT}/credentials/{n}",
        "subject": f"urn:uuid:00000000-0000-4000-8000-{n:012}",
        "valid_from": instant(NOW - timedelta(minutes=n)),
        "awarded": instant(NOW - timedelta(hours=n)),
        "status_id": f"{LIST}#{n}",
        "status_list_url": LIST,
        "status_index": str(n),
        "refresh_url": f"{ROOT}/credentials/{n}/refresh",
        "identity_hash": identity_hash("ada@example.org", f"{n:032x}"),
        "salt": f"{n:032x}",
    }


@cache
def described(achievement: badges.Achievement) -> dict:
    return badges.achievement_document(achievement, ISSUER)


def build(filled: Mapping[str, str], achievement: badges.Achievement = COURSE) -> dict:
    return badges.badge_document(
        described(achievement), ISSUER, name=badges.credential_name(achievement), credits_=15, **filled
    )


def schema(published_schemas: Path, name: str) -> dict:
    return json.loads((published_schemas / name).read_text())


class Web:
    """What a verifier fetches, answered from memory."""

    def __init__(
        self, *, revoked: tuple[int, ...] = (), multikey: str = MULTIKEY, signer: keys.Signer = SIGNER
    ) -> None:
        document = status_list_document(
            LIST,
            DID,
            revoked,
            valid_from=NOW - timedelta(minutes=1),
            valid_until=NOW + timedelta(hours=24),
            ttl_seconds=60,
        )
        self.pages = {
            f"{ROOT}/.well-known/did.json": dids.did_document(DID, [(METHOD, multikey)]),
            LIST: proofs.sign(document, signer, NOW),
        }

    def __call__(self, url: str) -> bytes:
        return json.dumps(self.pages[url]).encode()


def second_opinion(document: dict, web: Web | None = None) -> None:
    """openbadgeslib: raises OB3VerificationError unless proof, validity and status all hold.

    openbadgeslib 4.6.3 verifies the proof of a list only when the list is a JWT (ours carries an embedded
    proof, as 1EdTech's validator wants it); the list's own proof is checked by `proofs.holds` below.
    """
    OB3LdpVerifier().verify(json.dumps(document), check_status=True, download=web or Web(), verify_status_list=False)
