"""Signing keys: made, and read again, with their private halves in a SecretBox."""

import logging
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.secret_box import SecretBox, SecretBoxError, SigningKeyUnreadable

log = logging.getLogger(__name__)


def new_key(secret_box: SecretBox) -> tuple[str, dict[str, Any], bytes]:  # Any: JSON
    """Make an Ed25519 key. Returns its id, its public JWK (RFC 8037) and its encrypted private half.

    The id is the key's thumbprint (RFC 7638): the same key never has two ids.
    """
    key = Ed25519PrivateKey.generate()
    x = urlsafe_b64encode(key.public_key().public_bytes_raw()).decode().rstrip("=")
    canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'
    kid = urlsafe_b64encode(sha256(canonical.encode()).digest()).decode().rstrip("=")
    if kid.startswith("-"):  # typed at a command line it would read as an option
        return new_key(secret_box)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA"}
    return kid, jwk, secret_box.seal(key.private_bytes_raw(), kid)


def open_key(secret_box: SecretBox, kid: str, sealed: bytes) -> Ed25519PrivateKey:
    """Decrypt a private key.

    :raises SigningKeyUnreadable: 503, sealed with another wrapping key, or for another key id
    """
    try:
        return Ed25519PrivateKey.from_private_bytes(secret_box.open(sealed, kid))
    except SecretBoxError as error:
        log.error(  # noqa: TRY400 - the trace says nothing more
            "the wrapping key does not open the signing key: set the one that sealed it, "
            "or run `python -m gateway.staff rotate-keys`",
            extra={"kid": kid},
        )
        message = "nobody can sign in at the moment: the signing key cannot be read"
        raise SigningKeyUnreadable(message, headers={"Retry-After": "60"}) from error
