"""Credentials of another university, made with keys of the test's own, and what a verifier would fetch from it."""

import json
from base64 import urlsafe_b64encode
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import get_default_algorithms

from credentials.adapters import keys, proofs
from credentials.adapters.verification import Limits, Outside, Report, Unreachable, Verifier
from credentials.domain import dids, status_lists
from shared.ids import new_id

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROOT = "https://other.example"
DID = "did:web:other.example"
LIST = f"{ROOT}/status/1"

ED = Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = {"EdDSA": ED, "ES256": P256, "RS256": RSA}
MULTIKEY = dids.multikey(ED.public_key().public_bytes_raw())
METHOD = f"{DID}#ed"
SIGNER = keys.LocalSigner(ED, METHOD)

VC_2, VC_1 = "https://www.w3.org/ns/credentials/v2", "https://www.w3.org/2018/credentials/v1"
OB = "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json"
CLR = "https://purl.imsglobal.org/spec/clr/v2p0/context-2.0.1.json"
ED_2020 = "https://w3id.org/security/suites/ed25519-2020/v1"


def jwk(algorithm: str, **members: object) -> dict:
    public = get_default_algorithms()[algorithm].to_jwk(PRIVATE[algorithm].public_key(), as_dict=True)
    return {name: value for name, value in public.items() if name != "key_ops"} | members


def did_document(did: str = DID) -> dict:
    methods = [
        {"id": f"{did}#ed", "type": "Multikey", "controller": did, "publicKeyMultibase": MULTIKEY},
        *(
            {"id": f"{did}#{name}", "type": "JsonWebKey", "controller": did, "publicKeyJwk": jwk(name)}
            for name in ("ES256", "RS256")
        ),
    ]
    return {
        "@context": ["https://www.w3.org/ns/did/v1"],
        "id": did,
        "verificationMethod": methods,
        "assertionMethod": [method["id"] for method in methods],
    }


def badge(number: int = 1, **members: object) -> dict:
    """As others write them: single values where JSON-LD allows, no credits, no code."""
    return {
        "@context": [VC_2, OB],
        "id": f"{ROOT}/badges/{number}",
        "type": ["VerifiableCredential", "OpenBadgeCredential"],
        "name": "Welding",
        "issuer": {"id": DID, "type": "Profile", "name": "Other University"},
        "validFrom": "2026-07-01T09:00:00Z",
        "credentialSubject": {
            "id": f"urn:uuid:00000000-0000-4000-8000-{number:012}",
            "type": "AchievementSubject",
            "achievement": {
                "id": f"{ROOT}/achievements/{number}",
                "type": "Achievement",
                "name": "Welding",
                "description": "Joins metal.",
                "criteria": {"narrative": "Weld."},
            },
        },
    } | members


def listed(index: int = 7, purpose: str = "revocation") -> dict:
    return {
        "credentialStatus": {
            "id": f"{LIST}#{index}",
            "type": "BitstringStatusListEntry",
            "statusPurpose": purpose,
            "statusListIndex": str(index),
            "statusListCredential": LIST,
        }
    }


def status_list(*revoked: int, signer: keys.Signer = SIGNER, **changes: object) -> dict:
    document = status_lists.status_list_document(
        LIST, DID, revoked, valid_from=NOW - timedelta(minutes=1), valid_until=NOW + timedelta(hours=24), ttl_seconds=60
    )
    return proofs.sign(document | changes, signer, NOW)


def transcript(parts: list, **members: object) -> dict:
    return {
        "@context": [VC_2, CLR, OB],
        "id": f"{ROOT}/transcripts/1",
        "type": ["VerifiableCredential", "ClrCredential"],
        "name": "Transcript",
        "issuer": {"id": DID, "type": ["Profile"], "name": "Other University"},
        "validFrom": "2026-07-01T09:00:00Z",
        "credentialSubject": {"id": "urn:uuid:x", "type": ["ClrSubject"], "verifiableCredential": parts},
    } | members


def sign(document: dict, signer: keys.Signer = SIGNER) -> dict:
    return proofs.sign(document, signer, NOW)


def as_jwt(document: dict, algorithm: str = "ES256", *, claims: dict | None = None, **header: object) -> str:
    """The Open Badges profile; `header` members of None are left out."""
    stated = {
        "iss": DID,
        "jti": document.get("id"),
        "sub": document["credentialSubject"].get("id"),
        "nbf": int(datetime.fromisoformat(document["validFrom"]).timestamp()) if "validFrom" in document else None,
    } | (claims or {})
    payload = document | {name: value for name, value in stated.items() if value is not None}
    whole = {"kid": f"{DID}#{algorithm}"} | header
    if algorithm == "EdDSA" and "kid" not in header:
        whole["kid"] = METHOD
    headers = {name: value for name, value in whole.items() if value is not None}
    return jwt.encode(payload, PRIVATE[algorithm], algorithm=algorithm, headers=headers)


def forged_jwt(document: dict, header: dict, signature: bytes = b"") -> str:
    parts = [json.dumps(part).encode() for part in (header, document)]
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, signature))


class Elsewhere:
    """The other university's web site, in memory; remembers what was asked for."""

    def __init__(self, *revoked: int, **pages: object) -> None:
        self.pages = {f"{ROOT}/.well-known/did.json": did_document(), LIST: status_list(*revoked)} | pages
        self.asked: list[str] = []

    async def get(self, url: str, most_bytes: int, *, own_word: bool = False) -> bytes:
        self.asked.append(url)
        if url not in self.pages:
            raise Unreachable("unreachable", "nothing is there")
        page = self.pages[url]
        return page if isinstance(page, bytes) else json.dumps(page).encode()


_VERIFIER = Verifier(Limits(), Outside(Limits()))


async def verify(
    given: object, web: Elsewhere | None = None, *, now: datetime = NOW, verifier=_VERIFIER, client: str | None = None
) -> Report:
    raw = given if isinstance(given, bytes) else (given if isinstance(given, str) else json.dumps(given)).encode()
    return await verifier.verify(raw, web or Elsewhere(), now, client=client or str(new_id()))


def failures(report: Report) -> dict[str, str | None]:
    """What did not pass -> its code."""
    return {check.name.value: check.code for check in report.checks if check.outcome.value == "failed"}


def changed(document: dict, change) -> dict:
    copy = deepcopy(document)
    change(copy)
    return copy
