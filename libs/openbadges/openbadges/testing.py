"""For tests of programs that verify: credentials of another university, made with keys of the test's own, and its web
site in memory."""

import json
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import get_default_algorithms

from openbadges import dids, keys, proofs
from openbadges.status_lists import status_list_document
from openbadges.verification.limits import Limits
from openbadges.verification.outside import Outside, Unreachable
from openbadges.verification.report import Report
from openbadges.verification.verifier import Verifier

Document = dict[str, Any]  # Any: JSON

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


def jwk(algorithm: str, **members: object) -> Document:
    """Return one of the keys as a JSON Web Key, with further members."""
    public = get_default_algorithms()[algorithm].to_jwk(PRIVATE[algorithm].public_key(), as_dict=True)
    return {name: value for name, value in public.items() if name != "key_ops"} | members


def did_document(did: str = DID) -> Document:
    """Return the other university's DID document."""
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


def badge(number: int = 1, **members: object) -> Document:
    """Return a badge as others write them, unsigned: single values where JSON-LD allows, no credits, no code."""
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


def listed(index: int = 7, purpose: str = "revocation") -> Document:
    """Return a status entry, to put into a badge."""
    return {
        "credentialStatus": {
            "id": f"{LIST}#{index}",
            "type": "BitstringStatusListEntry",
            "statusPurpose": purpose,
            "statusListIndex": str(index),
            "statusListCredential": LIST,
        }
    }


def status_list(*revoked: int, signer: keys.Signer = SIGNER, **changes: object) -> Document:
    """Return the other university's signed status list."""
    document = status_list_document(
        LIST, DID, revoked, valid_from=NOW - timedelta(minutes=1), valid_until=NOW + timedelta(hours=24), ttl_seconds=60
    )
    return proofs.sign(document | changes, signer, NOW)


def transcript(parts: list[Any], **members: object) -> Document:
    """Return a learner record that holds these credentials, unsigned."""
    return {
        "@context": [VC_2, CLR, OB],
        "id": f"{ROOT}/transcripts/1",
        "type": ["VerifiableCredential", "ClrCredential"],
        "name": "Transcript",
        "issuer": {"id": DID, "type": ["Profile"], "name": "Other University"},
        "validFrom": "2026-07-01T09:00:00Z",
        "credentialSubject": {"id": "urn:uuid:x", "type": ["ClrSubject"], "verifiableCredential": parts},
    } | members


def sign(document: Document, signer: keys.Signer = SIGNER) -> Document:
    """Return the document with a proof of the other university."""
    return proofs.sign(document, signer, NOW)


def as_jwt(document: Document, algorithm: str = "ES256", *, claims: Document | None = None, **header: object) -> str:
    """Return a credential as a token in the Open Badges profile; `header` members of None are left out."""
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


def forged_jwt(document: Document, header: Document, signature: bytes = b"") -> str:
    """Return a token with whatever header and signature."""
    parts = [json.dumps(part).encode() for part in (header, document)]
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in (*parts, signature))


def one_pixel() -> bytes:
    """Return a PNG of one black pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    header = (1).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(4))) + chunk(b"IEND", b"")


def heavy(number: int = 0, count: int = 2500) -> bytes:
    """Return a document within every limit of size, and slow to expand."""
    entry = {"type": ["Alignment"], "targetName": "n", "targetUrl": "urn:x:y", "targetFramework": "f"}
    document = badge()
    document["credentialSubject"]["achievement"]["alignment"] = [
        entry | {"targetCode": f"{number}-{code}"} for code in range(count)
    ]
    return json.dumps(document | {"proof": sign(badge())["proof"]}).encode()


class Elsewhere:
    """The other university's web site, in memory; remembers what was asked for."""

    def __init__(self, *revoked: int, **pages: object) -> None:
        self.pages: dict[str, Any] = {
            f"{ROOT}/.well-known/did.json": did_document(),
            LIST: status_list(*revoked),
        } | pages
        self.asked: list[str] = []

    async def get(self, url: str, most_bytes: int, *, own_word: bool = False) -> bytes:  # noqa: ARG002 - it has all it says
        """Return a page. Raises Unreachable for one that is not there."""
        self.asked.append(url)
        if url not in self.pages:
            raise Unreachable("unreachable", "nothing is there")
        page = self.pages[url]
        return page if isinstance(page, bytes) else json.dumps(page).encode()


_VERIFIER = Verifier(Limits(), Outside(Limits()))


async def verify(
    given: object,
    web: Elsewhere | None = None,
    *,
    now: datetime = NOW,
    verifier: Verifier = _VERIFIER,
    client: str | None = None,
) -> Report:
    """Return the report about a document, as bytes, text or JSON, on the other university's web site."""
    raw = given if isinstance(given, bytes) else (given if isinstance(given, str) else json.dumps(given)).encode()
    return await verifier.verify(raw, web or Elsewhere(), now, client=client or str(uuid4()))


def failures(report: Report) -> dict[str, str | None]:
    """Return what did not pass, each with its code."""
    return {check.name.value: check.code for check in report.checks if check.outcome.value == "failed"}


def changed(document: Document, change: Callable[[Document], object]) -> Document:
    """Return a copy to which a change was made."""
    copy = deepcopy(document)
    change(copy)
    return copy
