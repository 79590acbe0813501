"""A shared record under our signature: a compact JWS that anybody checks with the keys in our DID document."""

import base64
import json

from openbadges.keys import Signer


def sign_record(payload: bytes, signer: Signer) -> str:
    """Return the payload as a signed compact JWS (RFC 7515), unchanged; `kid` is the verification method."""
    # The same key also signs credentials: the type prevents one from being passed off as the other.
    header = {"alg": "EdDSA", "kid": signer.verification_method, "typ": "shared-record+jws"}
    signing_input = f"{_encoded(json.dumps(header, separators=(',', ':')).encode())}.{_encoded(payload)}"
    return f"{signing_input}.{_encoded(signer.sign(signing_input.encode('ascii')))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
