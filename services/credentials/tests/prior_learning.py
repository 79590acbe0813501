"""Applications for prior learning to be recognised."""

from shared.ids import new_id

from .announcements import named

PDF = b"%PDF-1.7\n" + b"evidence " * 40
CLAIM = {
    "institution": "Westmarch University",
    "title": "Statistical Methods",
    "credits": 120,
    "level": 7,
    "completed_on": "2024-06-30",
    "statement": "It covered inference and regression.",
}
BECAUSE = {"reason_code": "equivalent", "reason": "Equivalent in level and outcomes."}


async def apply(service, learner, **changes) -> str:
    async with service.client("learner", id=learner) as client:
        opened = await client.post("/v1/recognitions", json=CLAIM | changes)
        assert opened.status_code == 201, opened.text
        address = opened.json()["recognition_id"]
        stored = await client.put(
            f"/v1/recognition-uploads/{address}", params={"filename": "transcript.pdf"}, content=PDF
        )
        assert stored.status_code == 201, stored.text
        handed_in = await client.post(f"/v1/recognitions/{address}/submission")
        assert handed_in.json()["state"] == "submitted"
    return address


async def decide(service, address: str, *subjects: str, by=None):
    units = [{"title": f"Unit {n}", "subject_id": str(named("subject", subject))} for n, subject in enumerate(subjects)]
    async with service.client("registrar", id=by or new_id()) as office:
        return await office.post(f"/v1/recognitions/{address}/decision", json={"units": units} | BECAUSE)
