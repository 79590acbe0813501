"""Signing keys as we store them: wrapped, so that only the process that signs can use them."""

from dataclasses import dataclass

from openbadges import keys
from openbadges.keys import Signer, Suite
from shared.secret_box import SecretBox, SecretBoxError


@dataclass(frozen=True)
class NewKey:
    """A new key: its public half, and its private half wrapped."""

    public: bytes
    """Ed25519: 32 bytes. P-256: the point uncompressed, 65 bytes."""
    wrapped: bytes


def new_key(secret_box: SecretBox, verification_method: str, suite: Suite | str = Suite.EDDSA_RDFC_2022) -> NewKey:
    """Make a key. The private half is wrapped under the key's name, so that keys cannot be exchanged."""
    made = keys.new_key(suite)
    return NewKey(made.public, secret_box.seal(made.private, verification_method))


def unwrap(
    wrapped: bytes, secret_box: SecretBox, verification_method: str, suite: Suite | str = Suite.EDDSA_RDFC_2022
) -> Signer:
    """Return a signer with the wrapped key. Raises SecretBoxError."""
    try:
        private = secret_box.open(wrapped, verification_method)
    except SecretBoxError as error:
        name = verification_method.rpartition("#")[2]
        raise SecretBoxError(
            f"{name} was sealed with another MC_WRAPPING_KEY: that one must come back, "
            f"or the key be struck out with PUT /v1/signing-keys/{name}/compromise"
        ) from error
    try:
        return keys.signer_with(private, verification_method, suite)
    except ValueError as error:
        raise SecretBoxError(f"{verification_method} is a key of another suite") from error
