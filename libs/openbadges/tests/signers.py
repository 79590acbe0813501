"""Signers of badges that are not ours."""

from openbadges import keys
from openbadges import testing as foreign


def other_signer() -> keys.Signer:
    return keys.LocalSigner(foreign.Ed25519PrivateKey.generate(), foreign.METHOD)
