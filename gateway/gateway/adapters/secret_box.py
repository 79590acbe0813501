"""Encryption of private keys at rest, and the secrets derived from the one wrapping key."""

import logging
import os
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.domain.keys import SigningKeyUnreadable

log = logging.getLogger(__name__)

_NONCE: Final = 12
SHORTEST_SECRET: Final = 32


class SecretBox:
    """Encrypts and decrypts signing keys (AES-GCM) and holds the secret of refresh tokens; both by HKDF of `secret`.

    :raises ValueError: `secret` has fewer than 32 characters
    """

    def __init__(self, secret: str) -> None:
        if len(secret) < SHORTEST_SECRET:
            raise ValueError(f"the wrapping key needs at least {SHORTEST_SECRET} characters")
        self._seal = AESGCM(_derive(secret, b"signing keys"))
        self.refresh_secret = _derive(secret, b"refresh tokens")

    def new_key(self) -> tuple[str, dict[str, Any], bytes]:  # Any: JSON
        """Make an Ed25519 key. Returns its id, its public JWK (RFC 8037) and its encrypted private half.

        The id is the key's thumbprint (RFC 7638): the same key never has two ids.
        """
        key = Ed25519PrivateKey.generate()
        x = urlsafe_b64encode(key.public_key().public_bytes_raw()).decode().rstrip("=")
        canonical = f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'
        kid = urlsafe_b64encode(sha256(canonical.encode()).digest()).decode().rstrip("=")
        if kid.startswith("-"):  # typed at a command line it would read as an option
            return self.new_key()
        jwk = {"kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "use": "sig", "alg": "EdDSA"}
        nonce = os.urandom(_NONCE)
        return kid, jwk, nonce + self._seal.encrypt(nonce, key.private_bytes_raw(), kid.encode())

    def open_key(self, kid: str, sealed: bytes) -> Ed25519PrivateKey:
        """Decrypt a private key.

        :raises SigningKeyUnreadable: 503, sealed with another secret, or for another key id
        """
        try:
            raw = self._seal.decrypt(sealed[:_NONCE], sealed[_NONCE:], kid.encode())
        except InvalidTag as error:
            log.error(  # noqa: TRY400 - the trace says nothing more
                "the wrapping key does not open the signing key: set the one that sealed it, "
                "or run `python -m gateway.staff rotate-keys`",
                extra={"kid": kid},
            )
            message = "nobody can sign in at the moment: the signing key cannot be read"
            raise SigningKeyUnreadable(message, headers={"Retry-After": "60"}) from error
        return Ed25519PrivateKey.from_private_bytes(raw)


def _derive(secret: str, purpose: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"microcredentials/gateway/" + purpose).derive(
        secret.encode()
    )
