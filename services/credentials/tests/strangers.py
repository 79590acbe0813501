"""Issuers whom we do not know."""

from openbadges import keys
from openbadges import testing as foreign
from openbadges.testing import badge, sign, transcript

BY_KEY = f"did:key:{foreign.MULTIKEY}"


def signed_by(did: str, name: object, *, whole: list | None = None) -> dict:
    issuer = {"id": did, "type": ["Profile"], "name": name}
    document = badge() if whole is None else transcript(whole)
    fragment = "0" if did.startswith("did:jwk:") else did.removeprefix("did:key:")
    return sign(document | {"issuer": issuer}, keys.LocalSigner(foreign.ED, f"{did}#{fragment}"))
