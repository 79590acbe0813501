"""A learner's form, requests about their name, and the directory that other services read."""

import httpx

from shared.directory import HttpDirectory

FORM = {
    "family_name": "Okonkwo",
    "given_name": "Adaeze",
    "date_of_birth": "1993-05-17",
    "country": "GB",
    "contact_email": "ada@example.org",
    "declaration": {
        "version": "2026.1",
        "answers": {"degree_or_experience": True, "english_proficiency": True},
    },
}
PDF = b"%PDF-1.7 a deed"
BODY = {"family_name": "Okonkwo-Reid", "given_name": "Adaeze", "statement": "I married."}


def directory(service, secret="test", status=None):
    """As another service holds it, on the way to this one without a network; `status` is what it would answer."""
    transport = (
        httpx.ASGITransport(app=service.process.app)
        if status is None
        else httpx.MockTransport(lambda _: httpx.Response(status, text="not JSON"))
    )
    return HttpDirectory({"enrolment": "http://enrolment"}, secret, httpx.AsyncClient(transport=transport))


async def anonymise(service, learner_id, role="registrar"):
    async with service.client(role) as client:
        return await client.put(f"/v1/learners/{learner_id}/anonymisation")


def refused(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


async def open_request(learner, **changes):
    answer = await learner.post("/v1/name-requests", json={**BODY, **changes})
    assert answer.status_code == 201, answer.text
    return answer.json()["request_id"]


async def add(learner, request_id, content=PDF, filename="deed.pdf"):
    path = f"/v1/name-requests/{request_id}/evidence"
    return await learner.put(path, params={"filename": filename}, content=content)


async def submitted(learner, **changes):
    request_id = await open_request(learner, **changes)
    assert (await add(learner, request_id)).status_code == 201
    answer = await learner.post(f"/v1/name-requests/{request_id}/submission")
    assert (answer.status_code, answer.json()["state"]) == (200, "submitted")
    return request_id


async def decide(client, request_id, *, approved=True):
    body = {"approved": approved, "reason": "The deed shows it."}
    return await client.post(f"/v1/name-requests/{request_id}/decision", json=body)
