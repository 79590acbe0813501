"""Badges, awards, status lists and learner records before verifiers that are not ours: npm's @digitalbazaar/vc and jose.

openbadgeslib (PyPI) is asked about tokens here, and else in badges.py, issuer.py, test_status_lists.py and
test_documents_clr.py.
"""

import json
from base64 import urlsafe_b64encode
from copy import deepcopy
from datetime import UTC, datetime
from importlib.resources import files

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from openbadgeslib.ob3 import OB3VerificationError, OB3Verifier

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.commands import awards
from credentials.commands.keys import signers
from credentials.domain import status_lists
from openbadges import keys, proofs, tokens
from openbadges.contexts import PINNED, context_bytes
from openbadges.status_lists import encode, status_list_document
from shared.ids import new_id

from .announcements import consume, hold_credit, let_time_work, revoked
from .issuer import UNCHECKED, Issuer
from .shares import READS, P, consent, know, redeem

HOST = "https://badges.example.ac.uk"
LIST = f"{HOST}/status/revocation/1"
DID = f"{HOST}/.well-known/did.json"
MULTIKEY = "https://w3id.org/security/multikey/v1"


@pytest.fixture
async def issuer(service, session, clock) -> Issuer:
    """One learner with four badges, an award, and a fifth badge that is revoked. Verifiers go by the real time."""
    clock.at = datetime.now(UTC)
    made = Issuer(service, session)
    await hold_credit(session, made.learner, DS=4, MG=1)
    award = await awards.claim_award(session, made.learner, "pgcert", "PGCert in Data Science", None)
    await awards.confer_award(session, award.award_id, by=new_id())
    await let_time_work(service)
    await consume(session, revoked(made.learner, "MG01"))
    await let_time_work(service)
    return made


@pytest.fixture
async def pages(issuer) -> dict:
    """What a verifier fetches; contexts among them, byte for byte as published."""
    found = {url: json.loads(context_bytes(url)) for url in PINNED}
    bundled = files("openbadgeslib.ob3.contexts")
    found[MULTIKEY] = json.loads((bundled / "security-multikey-v1.json").read_bytes())
    for url in (DID, LIST):
        found[url] = (await issuer.get(url.removeprefix(HOST))).json()
    return found


@pytest.fixture
async def documents(issuer) -> dict[str, dict]:
    """Every badge of the learner, by the name of what it recognises."""
    async with issuer.service.client("learner", id=issuer.learner) as learner:
        listed = (await learner.get("/v1/badges")).json()["items"]
    return {one["name"]: (await issuer.get(f"/credentials/{one['badge_id']}")).json() for one in listed}


@pytest.fixture
def signer(pages):
    """A key of somebody else, who uses the name of ours."""
    method = next(one["id"] for one in pages[DID]["verificationMethod"] if one["type"] == "Multikey")
    return keys.LocalSigner(Ed25519PrivateKey.generate(), method)


def changed(document: dict, **members: object) -> dict:
    return {**deepcopy(document), **members}


def unsigned(document: dict) -> dict:
    return {name: member for name, member in document.items() if name != "proof"}


async def test_what_stands_is_accepted_and_what_is_revoked_is_not(judge, pages, documents):
    verdicts = dict(zip(documents, judge(pages, *documents.values()), strict=True))
    assert len(verdicts) == 6
    refused = verdicts.pop("Course MG01")
    assert (refused["verified"], refused["revoked"]) == (False, True)
    assert verdicts["PGCert in Data Science"]["verified"]
    assert [verdict["errors"] for verdict in verdicts.values()] == [[]] * 5
    assert all(verdict["verified"] for verdict in verdicts.values())


async def test_the_status_list_itself_is_accepted(judge, pages, issuer):
    token = (await issuer.get("/status/revocation/1.jwt")).text
    for verdict in judge(pages, pages[LIST], token):
        assert verdict == {"verified": True, "revoked": False, "errors": []}


async def test_each_forgery_is_refused(judge, pages, documents, signer, clock):
    genuine = documents["Course DS01"]
    subject = deepcopy(genuine["credentialSubject"])
    subject["achievement"]["name"] = "Course DS02"
    elsewhere = changed(genuine["credentialStatus"], statusListIndex="5")
    forged = {
        "one byte in the subject": changed(genuine, credentialSubject=subject),
        "another place in the list": changed(genuine, credentialStatus=elsewhere),
        "a later date": changed(genuine, validFrom="2026-01-01T00:00:00Z"),
        "a member no context defines": changed(genuine, honours="first class"),
        "wrong key": proofs.sign(unsigned(genuine), signer, clock()),
        "no proof": unsigned(genuine),
        "a cut signature": changed(genuine, proof=[changed(genuine["proof"][0], proofValue="z1")]),
    }
    verdicts = dict(zip(forged, judge(pages, *forged.values()), strict=True))
    assert [name for name, verdict in verdicts.items() if verdict["verified"]] == []


async def test_a_forged_or_stale_list_proves_nothing(judge, pages, documents, signer, clock, issuer):
    genuine, gone = documents["Course DS01"], documents["Course MG01"]
    emptied = deepcopy(pages[LIST])
    emptied["credentialSubject"]["encodedList"] = encode([])
    resigned = proofs.sign(unsigned(emptied), signer, clock())
    for forged in (emptied, resigned):
        assert not any(verdict["verified"] for verdict in judge({**pages, LIST: forged}, genuine, gone))


async def test_an_old_list_shown_again_proves_nothing(judge, pages, documents, clock, issuer):
    """From before the revocation, with our own signature."""
    clock.advance(hours=-49)
    credential_issuer = issuer.service.service.resources[CredentialIssuer]
    old = status_list_document(
        LIST,
        credential_issuer.issuer.did,
        [],
        valid_from=clock(),
        valid_until=clock() + status_lists.VALID_FOR,
        ttl_seconds=status_lists.TTL_SECONDS,
    )
    stale = credential_issuer.sign(old, (await signers(issuer.session, credential_issuer)).proof, clock())
    clock.advance(hours=49)
    (verdict,) = judge({**pages, LIST: stale}, documents["Course MG01"])
    assert not verdict["verified"]
    assert '"validUntil"' in str(verdict["errors"])


async def test_a_key_struck_out_vouches_for_nothing(judge, pages, documents, issuer):
    genuine = documents["Course DS01"]
    stolen = await issuer.active()
    await issuer.ask("PUT", f"/v1/signing-keys/{stolen}/compromise", reason="Lost")
    await let_time_work(issuer.service)
    now = {**pages, DID: await issuer.did_document(), LIST: (await issuer.get("/status/revocation/1")).json()}
    verdicts = judge(now, genuine, await issuer.document("DS01"))
    assert [verdict["verified"] for verdict in verdicts] == [False, True]


def forgeries_of(token: str) -> dict[str, str]:
    header, payload, signature = token.split(".")
    claims = jwt.decode(token, options=UNCHECKED)
    kid = jwt.get_unverified_header(token)["kid"]
    nothing = urlsafe_b64encode(json.dumps({"alg": "none", "kid": kid}).encode()).rstrip(b"=").decode()
    stranger = keys.LocalEcdsaSigner(ec.generate_private_key(ec.SECP256R1()), kid)
    bare = {name: claim for name, claim in claims.items() if name not in {"iss", "jti", "sub", "nbf"}}
    subject = deepcopy(claims["credentialSubject"])
    subject["achievement"]["name"] = "Course DS02"
    changed_claims = json.dumps(claims | {"credentialSubject": subject}).encode()
    return {
        "one byte in the subject": ".".join(
            [header, urlsafe_b64encode(changed_claims).rstrip(b"=").decode(), signature]
        ),
        "alg none": f"{nothing}.{payload}.",
        "no signature": f"{header}.{payload}.",
        "wrong key": tokens.sign(bare, stranger),
    }


async def test_tokens_are_accepted_and_forged_ones_are_not(judge, pages, issuer):
    token = await issuer.token("DS01")
    verdicts = judge(pages, token, *forgeries_of(token).values())
    assert verdicts[0] == {"verified": True, "revoked": False, "errors": []}
    assert [verdict["verified"] for verdict in verdicts[1:]] == [False] * 4


async def test_another_library_judges_tokens_alike(pages, issuer):
    """openbadgeslib resolves the issuer, finds the key that `kid` names, and reads the status list."""
    web = {url: json.dumps(page).encode() for url, page in pages.items()}
    verifier = OB3Verifier.for_issuer_did(pages[DID]["id"], download=web.__getitem__)

    def check(token: str) -> None:
        verifier.verify(token, check_status=True, verify_status_list=False, download=web.__getitem__)

    genuine, gone = await issuer.token("DS01"), await issuer.token("MG01")
    check(genuine)
    for token in (*forgeries_of(genuine).values(), gone):
        with pytest.raises(OB3VerificationError):
            check(token)


@pytest.fixture
async def learner_record(issuer) -> dict:
    """The transcript as its holder gets it."""
    async with issuer.service.client("learner", id=issuer.learner) as learner:
        listed = (await learner.get("/v1/documents")).json()["items"]
        (transcript,) = [one for one in listed if one["kind"] == "transcript"]
        return (await learner.get(transcript["clr_url"])).json()


async def test_a_learner_record_and_each_credential_inside_are_accepted(judge, pages, learner_record):
    inside = learner_record["credentialSubject"]["verifiableCredential"]
    assert len(inside) == 6, "four courses, the award, the results"
    for verdict in judge(pages, learner_record, *inside):
        assert verdict == {"verified": True, "revoked": False, "errors": []}


async def test_a_learner_record_that_a_newer_one_replaced_is_refused(judge, pages, learner_record, issuer):
    await consume(issuer.session, revoked(issuer.learner, "DS02"))
    await let_time_work(issuer.service)
    async with issuer.service.client("learner", id=issuer.learner) as learner:
        listed = (await learner.get("/v1/documents")).json()["items"]
        (transcript,) = [one for one in listed if one["kind"] == "transcript"]
        newest = (await learner.get(transcript["clr_url"])).json()
    now = {**pages, LIST: (await issuer.get("/status/revocation/1")).json()}
    verdicts = judge(now, learner_record, newest)
    assert [(verdict["verified"], verdict["revoked"]) for verdict in verdicts] == [(False, True), (True, False)]


async def test_a_learner_record_from_which_something_is_dropped_or_changed_is_refused(judge, pages, learner_record):
    forged = []
    for n, leaf in enumerate(learner_record["credentialSubject"]["verifiableCredential"]):
        dropped, touched = deepcopy(learner_record), deepcopy(learner_record)
        del dropped["credentialSubject"]["verifiableCredential"][n]
        name = leaf["credentialSubject"]["achievement"]["name"]
        inner = touched["credentialSubject"]["verifiableCredential"][n]
        inner["credentialSubject"]["achievement"]["name"] = name[:-1] + chr(ord(name[-1]) ^ 1)
        forged += [dropped, touched, inner]
    named_otherwise = deepcopy(learner_record)
    named_otherwise["credentialSubject"]["identifier"][0]["identityHash"] = "Ada Lovelacf"
    called_partial = changed(learner_record, partial=True)
    verdicts = judge(pages, *forged, named_otherwise, called_partial)
    assert [verdict["verified"] for verdict in verdicts] == [False] * len(verdicts)
    assert all("signature" in str(verdict["errors"]).lower() for verdict in verdicts)


async def test_a_partners_learner_record_is_accepted(judge, pages, issuer, clock):
    """A selection, without the name: the same proof by the same keys."""
    await know(issuer.session, P)
    granted = await consent(issuer.service, issuer.learner, "DS01", "DS03", with_marks=True)
    await redeem(issuer.service, granted["code"])
    async with issuer.service.client(client_id=P, scopes=READS) as partner:
        record = (await partner.get(f"/v1/shared-records/{granted['share_id']}.clr")).json()
    dropped = deepcopy(record)
    del dropped["credentialSubject"]["verifiableCredential"][0]
    assert [verdict["verified"] for verdict in judge(pages, record, dropped)] == [True, False]
