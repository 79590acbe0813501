"""A degree elsewhere that takes in credit, for tests."""

from datetime import timedelta

from shared.events.catalogue import ProgrammeModule, ProgrammePublished

from .announcements import BEFORE, named
from .shares import P

DECIDES = ("transfers:decide", "transcripts:read")


PROGRAMME = named("programme", "MSC-DS")


def programme(version: int = 1, ceiling: int = 60, **changes) -> ProgrammePublished:
    fields = {
        "programme_id": PROGRAMME,
        "version": version,
        "client_id": P,
        "institution_name": "Example University",
        "code": "MSC-DS",
        "title": "MSc Data Science",
        "ceiling_credits": ceiling,
        "modules": tuple(
            ProgrammeModule(
                course_id=named("course", f"DS0{n}"),
                course_version_id=named("version", f"DS0{n}"),
                module_code=f"M{n}",
                module_title=f"Module {n}",
                credits=15,
                valid_from=BEFORE,
                valid_until=None if n == 1 else BEFORE + timedelta(days=1),
                decided_by="Faculty Board",
            )
            for n in (1, 2)
        ),
        "published_at": BEFORE,
    }
    return ProgrammePublished(**(fields | changes))


def ids(learner, *codes: str) -> list[str]:
    return [str(named("credit", learner, code)) for code in codes]


async def request(service, learner, *codes: str, **changes):
    async with service.client("learner", id=learner) as client:
        body = {"programme_id": str(PROGRAMME), "credit_ids": ids(learner, *codes)} | changes
        return await client.post("/v1/transfers", json=body)


def decision(learner, until="2028-01-01T00:00:00Z", **outcomes):
    lines = []
    for code, outcome in outcomes.items():
        line = {
            "credit_id": ids(learner, code)[0],
            "outcome": outcome,
            "reason_code": "judged",
            "reason": f"On {code}.",
        }
        if outcome == "partial":
            line["credits_recognised"] = 10
        lines.append(line)
    return {"decisions": lines, "accepted_until": until}


async def act(service, transfer_id: str, what: str, body=None, partner: str = P):
    async with service.client(client_id=partner, scopes=DECIDES) as client:
        return await client.post(f"/v1/transfers/{transfer_id}/{what}", json=body)


async def credit_states(service, learner) -> dict[str, str]:
    async with service.client("learner", id=learner) as client:
        return {line["course_code"]: line["status"] for line in (await client.get("/v1/credits")).json()["items"]}
