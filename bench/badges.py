"""Signing badges as credentials issues them, against bare Ed25519 and SHA-256 over as many bytes."""

import asyncio
import time
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.measuring import Bench, Limit, Result, alternate
from credentials.adapters.credential_issuer import CredentialIssuer, StatusListEntry
from credentials.domain.badges import Achievement, Skill
from openbadges.json_ld import canonicalise
from shared.ids import new_id
from shared.secret_box import SecretBox

COURSE = Achievement(
    url="https://badges.example/achievements/7DS501",
    kind="MicroCredential",
    name="Applied Machine Learning",
    code="7DS501",
    description="Models that learn from data, how to judge them, and when not to use them.",
    criteria="Pass one project.",
    credits=15,
    level=7,
    skills=(
        Skill("utilise machine learning", "ESCO", "http://data.europa.eu/esco/skill/1"),
        Skill("statistics", "ESCO", "http://data.europa.eu/esco/skill/2"),
    ),
)


async def measure(bench: Bench) -> list[Result]:
    count = bench.size(5000)
    credential_issuer = CredentialIssuer("https://badges.example", "University of Example", SecretBox(bytes(32)))
    method, key = credential_issuer.new_key("ed25519-bench")
    signer = credential_issuer.signer(method, key.wrapped)
    bare_key = Ed25519PrivateKey.generate()

    def badge(number: int) -> dict[str, object]:
        now = datetime.now(UTC)
        return credential_issuer.sign_badge(
            COURSE,
            signer,
            badge_id=new_id(),
            subject=f"urn:uuid:{new_id()}",
            status_entry=StatusListEntry(1, number),
            awarded_at=now,
            now=now,
            email="ada@learner.example",
        )

    signed = badge(0)  # compiles the template
    content = canonicalise({name: value for name, value in signed.items() if name != "proof"}).encode()

    async def issue() -> float:
        await asyncio.sleep(0)
        began = time.perf_counter()
        for number in range(count):
            badge(number)
        return count / (time.perf_counter() - began)

    async def bare() -> float:
        await asyncio.sleep(0)
        began = time.perf_counter()
        for _ in range(count):
            bare_key.sign(sha256(content).digest())
        return count / (time.perf_counter() - began)

    rates = await alternate(bench.rounds, {"bare": bare, "issued": issue})
    return [
        Result(
            "badge, eddsa-rdfc-2022, signed",
            "badges/s of bare Ed25519 + SHA-256",
            rates["issued"] / rates["bare"],
            Limit(0.10, 0.30, 0.5),
            f"{rates['issued']:,.0f} of {rates['bare']:,.0f}, {len(content)} bytes each",
        )
    ]
