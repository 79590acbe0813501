"""Files that a learner shares with a partner."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from openbadgeslib.ob3.clr import bundled_clr_contexts
from openbadgeslib.ob3.ldp import verify_data_integrity_proof

from credentials.tables.keys import SigningKey

from .shares import READS, P, consent, redeem

EVERYTHING = {"whole_record": True, "with_marks": True, "with_attempts": True, "with_name": True}


async def consented(service, learner, *codes: str, **changes: object) -> str:
    granted = await consent(service, learner, *codes, **changes)
    await redeem(service, granted["code"])
    return f"/v1/shared-records/{granted['share_id']}"


async def get(service, path: str, partner: str = P):
    async with service.client(client_id=partner, scopes=READS) as client:
        return await client.get(path)


async def others_agree(session, record: dict) -> None:
    """openbadgeslib: raises unless the proofs of the record and of all inside hold."""
    key = await session.get(SigningKey, record["proof"][0]["verificationMethod"])
    pem = Ed25519PublicKey.from_public_bytes(key.public_key).public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )
    for document in (record, *record["credentialSubject"]["verifiableCredential"]):
        verify_data_integrity_proof(document, pem, extra_contexts=bundled_clr_contexts())
