"""Every two commands on one learner at once."""

from dataclasses import dataclass
from uuid import UUID

import pytest
from httpx import AsyncClient

from credentials.commands.people import store_person
from credentials.tables.base import Base
from shared.events.enrolment import LearnerAnonymised
from shared.events.gateway import PartnerClosed
from shared.ids import new_id
from shared.testing.pairs import Pairs

from .announcements import DS, MG, cancelled, consume, course, credit, let_time_work, named, person, registered, revoked
from .degrees import decision, programme
from .prior_learning import BECAUSE, CLAIM, PDF
from .shares import FORM, body, know

pytestmark = pytest.mark.slow
TITLE = "PGCert in Data Science"


@dataclass
class Case:
    """A learner with credit DS01-04 and MG01-02; MG02 is held."""

    learner_id: UUID
    own: AsyncClient
    partner: AsyncClient
    client_id: str
    programme: str
    """Of the partner's; nothing is asked of it yet."""
    claim: str
    transfer: str
    """Of MG01, not decided yet."""
    share: str
    """The partner knows of it."""
    code: str
    """Of another that it does not know of."""
    link: str
    recognition: str


@pytest.fixture
def handle(live):
    async def handle(*events) -> None:
        async with live.process.database.transaction() as session:
            await consume(session, *events)

    return handle


@pytest.fixture
async def prepare(live, handle):
    await handle(
        *(course(f"{prefix}{n:02}", subject) for prefix, subject in (("DS", DS), ("MG", MG)) for n in range(1, 5)),
    )

    async def make() -> Case:
        who, client_id, programmes = new_id(), f"mcp_{new_id().hex}", (new_id(), new_id())
        async with live.process.database.transaction() as session:
            await know(session, client_id)
            announced = [programme(programme_id=one, client_id=client_id) for one in programmes]
            earned = [credit(who, f"DS0{n}", DS) for n in range(1, 5)] + [credit(who, f"MG0{n}", MG) for n in (1, 2)]
            await consume(session, registered(who), *announced, *earned, cancelled(who, "MG02"))
            await store_person(session, person(who))
        await let_time_work(live)
        own = live.client("learner", id=who)
        partner = live.client(client_id=client_id, scopes=("transcripts:read", "transfers:decide"))

        async def ask(path: str, json: dict | None = None, by: AsyncClient = own) -> dict:
            answer = await by.post(f"/v1/{path}", json=json)
            assert answer.is_success, answer.text
            return answer.json()

        claimed = await ask("award-claims", {"level": "pgcert", "title": TITLE})
        moved = {"programme_id": str(programmes[0]), "credit_ids": [str(named("credit", who, "MG01"))]}
        asked = await ask("transfers", moved)
        shares = [await ask("shares", body(who, "DS01", client_id=client_id)) for _ in range(2)]
        await ask("shared-records", {"code": shares[0]["code"]}, by=partner)
        link = (await ask("shares", body(who, "DS01", recipient="Acme")))["address"]
        opened = (await ask("recognitions", CLAIM))["recognition_id"]
        await own.put(f"/v1/recognition-uploads/{opened}", params={"filename": "t.pdf"}, content=PDF)
        await ask(f"recognitions/{opened}/submission")
        return Case(
            learner_id=who,
            own=own,
            partner=partner,
            client_id=client_id,
            programme=str(programmes[1]),
            claim=claimed["award_id"],
            transfer=asked["transfer_id"],
            share=shares[0]["share_id"],
            code=shares[1]["code"],
            link=link.removeprefix("https://badges.example.ac.uk"),
            recognition=opened,
        )

    return make


async def test_no_two_commands_on_one_learner_harm_each_other(live, superuser, prepare, handle):
    office = live.client("registrar", id=new_id())

    def post(path, json=None):
        """As the registrar; {names} of the case's."""
        return lambda one: office.post(path.format(**vars(one)), json=json)

    def own(path, json=None):
        return lambda one: one.own.post(path.format(**vars(one)), json=json)

    def partner(path, json=None):
        return lambda one: one.partner.post(path.format(**vars(one)), json=json)

    def handles(make):
        return lambda one: handle(make(one.learner_id))

    def grant(one):
        return one.own.post("/v1/shares", json=body(one.learner_id, "DS02", client_id=one.client_id))

    def request_transfer(one):
        credit_ids = [str(named("credit", one.learner_id, "MG01"))]
        return one.own.post("/v1/transfers", json={"programme_id": one.programme, "credit_ids": credit_ids})

    def decide_transfer(one):
        path = f"/v1/transfers/{one.transfer}/decision"
        return one.partner.post(path, json=decision(one.learner_id, MG01="accept"))

    def release(one):
        path = f"/v1/credit-holds/{named('credit', one.learner_id, 'MG02')}/release"
        return office.post(path, json={"reason_code": "goodwill"})

    async def open_link(one):
        async with live.client() as anybody:
            return await anybody.post(one.link, headers=FORM)

    units = [{"title": "Unit", "subject_id": str(named("subject", DS))}]
    commands = {
        "confer": post("/v1/award-claims/{claim}/conferral"),
        "withdraw claim": own("/v1/award-claims/{claim}/withdrawal"),
        "decide recognition": post("/v1/recognitions/{recognition}/decision", {"units": units} | BECAUSE),
        "withdraw recognition": own("/v1/recognitions/{recognition}/withdrawal"),
        "release credit": release,
        "handle a refund": handles(lambda who: cancelled(who, "DS02")),
        "handle a revocation": handles(lambda who: revoked(who, "DS01")),
        "handle credit": handles(lambda who: credit(who, "MG03", MG)),
        "grant share": grant,
        "redeem code": lambda one: one.partner.post("/v1/shared-records", json={"code": one.code}),
        "fetch record": partner("/v1/shared-records/{share}/fetches"),
        "open link": open_link,
        "withdraw share": own("/v1/shares/{share}/withdrawal"),
        "request transfer": request_transfer,
        "decide transfer": decide_transfer,
        "withdraw transfer": own("/v1/transfers/{transfer}/withdrawal"),
        "close partner": lambda one: handle(PartnerClosed(client_id=one.client_id, closed_at=live.clock())),
        "erase": handles(lambda who: LearnerAnonymised(learner_id=who, anonymised_at=live.clock())),
    }
    assert await Pairs(live, Base, superuser, await prepare(), commands).faults() == []
