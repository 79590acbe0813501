"""The issuer as those see it who are outside: by what it serves."""

import json
from datetime import datetime

import jwt
from jwt.types import Options
from openbadgeslib.ob3 import OB3LdpVerifier
from sqlalchemy import select

from credentials import jobs
from credentials.tables.issued import Badge
from openbadges.status_lists import is_set
from shared.directory import LocalDirectory
from shared.events.credentials import BadgeSuperseded
from shared.events.enrolment import LearnerContactChanged
from shared.ids import new_id
from shared.testing.services import published

from .announcements import BEFORE, consume, named, person, work_of

UNCHECKED: Options = {"verify_signature": False}
HOST = "https://badges.example.ac.uk"


class Issuer:
    """The service as those see it who are outside: by what it serves."""

    def __init__(self, service, session):
        self.service, self.session = service, session
        self.learner = new_id()

    async def get(self, path, **headers):
        async with self.service.client() as anyone:
            return await anyone.get(path, headers=headers)

    async def ask(self, method, path, **body):
        async with self.service.client("operator") as operator:
            return await operator.request(method, path, json=body or None)

    async def badge(self, code="DS01") -> Badge:
        self.session.expire_all()
        statement = select(Badge).where(Badge.credit_id == named("credit", self.learner, code))
        return (await self.session.scalars(statement)).one()

    async def document(self, code="DS01") -> dict:
        return (await self.get(f"/credentials/{(await self.badge(code)).badge_id}")).json()

    async def token(self, code="DS01") -> str:
        return (await self.get(f"/credentials/{(await self.badge(code)).badge_id}.jwt")).text

    async def did_document(self) -> dict:
        return (await self.get("/.well-known/did.json")).json()

    async def pages(self, document) -> dict[str, bytes]:
        """What a verifier would fetch."""
        list_url = document["credentialStatus"]["statusListCredential"]
        return {
            f"{HOST}/.well-known/did.json": (await self.get("/.well-known/did.json")).content,
            list_url: (await self.get(list_url.removeprefix(HOST))).content,
        }

    async def second_opinion(self, document) -> None:
        """openbadgeslib: raises OB3VerificationError unless proof, validity and status all hold."""
        pages = await self.pages(document)
        OB3LdpVerifier().verify(
            json.dumps(document), check_status=True, download=pages.__getitem__, verify_status_list=False
        )

    async def is_set(self, index: int) -> bool:
        published_list = (await self.get("/status/revocation/1")).json()
        return is_set(published_list["credentialSubject"]["encodedList"], index)

    async def keys(self) -> dict[str, dict]:
        return {key["name"]: key for key in (await self.ask("GET", "/v1/signing-keys")).json()["items"]}

    async def active(self, suite="eddsa-rdfc-2022") -> str:
        found = await self.keys()
        return next(name for name, key in found.items() if (key["state"], key["suite"]) == ("active", suite))

    async def change_address(self, address: str, version: int) -> None:
        event = LearnerContactChanged(learner_id=self.learner, contact_version=version, changed_at=BEFORE)
        await consume(self.session, event)
        entry = person(self.learner, contact_email=address, contact_version=version)
        await jobs.read_people(work_of(self.service, LocalDirectory(entry)))

    async def superseded(self) -> list[BadgeSuperseded]:
        return [event for event in await published(self.session) if isinstance(event, BadgeSuperseded)]


def instant(value: str) -> datetime:
    return datetime.fromisoformat(value)


async def verified(issuer, token: str) -> dict:
    """As a verifier does: the key is the one the issuer's document names. Raises jwt.InvalidTokenError."""
    kid = jwt.get_unverified_header(token)["kid"]
    did_document = await issuer.did_document()
    assert kid in did_document["assertionMethod"]
    (method,) = [one for one in did_document["verificationMethod"] if one["id"] == kid]
    assert method["type"] == "JsonWebKey"
    key = jwt.PyJWK(method["publicKeyJwk"], algorithm="ES256")
    unasked: Options = {"verify_nbf": False, "verify_exp": False}  # the clock is the test's
    return jwt.decode(token, key, algorithms=["ES256"], options=unasked)
