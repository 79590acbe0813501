"""Data Integrity proofs of the suite eddsa-rdfc-2022.

Source: W3C Data Integrity EdDSA Cryptosuites v1.0. Signed is SHA-256 of the canonical proof options followed
by SHA-256 of the canonical document; the options are canonicalised in the document's own context.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from openbadges.dids import base58, public_key, unbase58
from openbadges.json_ld import canonicalise
from openbadges.keys import Signer, signed_by
from openbadges.signable import instant

Document = dict[str, Any]  # Any: JSON

SUITE = "eddsa-rdfc-2022"


def proof_options(verification_method: str, created: str) -> Document:
    return {
        "type": "DataIntegrityProof",
        "cryptosuite": SUITE,
        "created": created,
        "verificationMethod": verification_method,
        "proofPurpose": "assertionMethod",
    }


def sign(document: Mapping[str, Any], signer: Signer, now: datetime) -> Document:  # Any: JSON
    """Return the document with its proof.

    PyLD canonicalises it: this is the reference that canonical_templates.py is compared with.
    """
    options = proof_options(signer.verification_method, instant(now))
    canonical = canonicalise(document)
    canonical_options = canonicalise({**options, "@context": document["@context"]})
    return attach(document, options, signer.sign(digest(canonical_options, canonical)))


def attach(document: Mapping[str, Any], options: Document, signature: bytes) -> Document:  # Any: JSON
    return {**document, "proof": [{**options, "proofValue": "z" + base58(signature)}]}


def digest(canonical_options: str, canonical_document: str) -> bytes:
    return hashed(canonical_options) + hashed(canonical_document)


def hashed(canonical: str) -> bytes:
    return sha256(canonical.encode()).digest()


def holds(document: Mapping[str, Any], proof: Mapping[str, Any], multikey: str) -> bool:  # Any: JSON
    """Return whether the key signed exactly this document. Raises UnknownContext, NotCanonical."""
    unsigned = {name: member for name, member in document.items() if name != "proof"}
    options = {name: member for name, member in proof.items() if name != "proofValue"}
    value = proof.get("proofValue")
    if not isinstance(value, str) or not value.startswith("z"):
        return False
    try:
        key, signature = public_key(multikey), unbase58(value[1:])
    except ValueError:
        return False
    canonical_options = canonicalise({**options, "@context": document["@context"]})
    return signed_by(key, signature, digest(canonical_options, canonicalise(unsigned)))
