"""Issuing Open Badges with eddsa-rdfc-2022, against the signature and the hash alone over the same bytes."""

import hashlib
import time
from datetime import UTC, datetime, timedelta
from functools import cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.measuring import Bench, Limit, Result, alternate
from credentials.adapters import json_ld, keys, templates
from credentials.domain import badges

ROOT = "https://badges.example.ac.uk"
LIST = f"{ROOT}/status/revocation/1"
ISSUER = badges.Issuer("did:web:badges.example.ac.uk", "University of Example", ROOT)
COURSE = badges.Achievement(
    url=f"{ROOT}/achievements/7DS501",
    kind="MicroCredential",
    name="Applied Machine Learning",
    code="7DS501",
    description="Models that learn from data, and how far to trust them.",
    criteria="Pass one project.",
    credits=15,
    level=7,
    skills=(badges.Skill("utilise machine learning", "ESCO", "http://data.europa.eu/esco/skill/1"),),
)
SLOTS = ("credential_url", "subject", "valid_from", "awarded", "status_id", "status_list_url", "status_index")
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def _values(number: int) -> dict[str, str]:
    return {
        "credential_url": f"{ROOT}/credentials/{number}",
        "subject": f"urn:uuid:00000000-0000-4000-8000-{number:012}",
        "valid_from": badges.instant(NOW + timedelta(seconds=number)),
        "awarded": badges.instant(NOW),
        "status_id": f"{LIST}#{number}",
        "status_list_url": LIST,
        "status_index": str(number),
    }


@cache
def _described() -> badges.Document:
    return badges.achievement_document(COURSE, ISSUER)


def _build(filled: dict[str, str]) -> badges.Document:
    return badges.badge_document(
        _described(), ISSUER, name=badges.credential_name(COURSE), credits_=COURSE.credits, **filled
    )


async def measure(bench: Bench) -> list[Result]:
    key = Ed25519PrivateKey.generate()
    press = templates.Press(_build, SLOTS, keys.LocalSigner(key, f"{ISSUER.did}#key"))
    press.sign(_values(0), NOW)  # the first one is compared with PyLD
    canonical = json_ld.canonicalise(_build(_values(1))).encode()
    count = bench.size(3000)

    async def ours() -> float:
        began = time.perf_counter()
        for number in range(count):
            press.sign(_values(number), NOW)
        return count / (time.perf_counter() - began)

    async def bare() -> float:
        began = time.perf_counter()
        for _ in range(count):
            key.sign(hashlib.sha256(canonical).digest() * 2)
        return count / (time.perf_counter() - began)

    rates = await alternate(bench.rounds, {"ours": ours, "bare": bare})
    return [
        Result(
            "badge, eddsa-rdfc-2022",
            "badges/s of bare Ed25519 + SHA-256",
            rates["ours"] / rates["bare"],
            Limit(0.10, 0.30),
            f"{rates['ours']:,.0f} of {rates['bare']:,.0f}",
        )
    ]
