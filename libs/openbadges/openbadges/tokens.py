"""A credential as a signed JSON Web Token (VC-JWT), as Open Badges 3.0 has it.

The payload is the credential with its issuer, id, subject and start repeated as the registered claims.
Source: 1EdTech Open Badges 3.0 §8.2; RFC 7515.
"""

from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from openbadges.keys import Signer


def sign(credential: Mapping[str, Any], signer: Signer) -> str:  # Any: JSON
    """Return the compact token of an unsigned credential, whose issuer and subject have ids. It expires with the
    credential."""
    header = {"alg": signer.alg, "kid": signer.verification_method, "typ": "JWT"}
    issuer = credential["issuer"]
    claims = {
        **credential,
        "iss": issuer if isinstance(issuer, str) else issuer["id"],
        "jti": credential["id"],
        "sub": credential["credentialSubject"]["id"],
        "nbf": _seconds(credential["validFrom"]),
    }
    if "validUntil" in credential:
        claims["exp"] = _seconds(credential["validUntil"])
    signing_input = f"{_encoded(orjson.dumps(header))}.{_encoded(orjson.dumps(claims))}"
    return f"{signing_input}.{_encoded(signer.sign(signing_input.encode()))}"


def _seconds(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp())


def _encoded(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
