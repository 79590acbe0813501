import hashlib
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from assessment.app import build
from assessment.handlers import inbox
from assessment.settings import Settings
from shared.events.catalogue import CoursePublished
from shared.events.enrolment import EnrolmentActivated, EnrolmentCancelled, EnrolmentSuspended
from shared.ids import new_id
from shared.testing.services import BuildService, published


@pytest.fixture(scope="session")
def build_service() -> BuildService:
    return lambda url: build(Settings(database_url=url, feed_secret=SecretStr("test"), storage_url="memory:///"))


PDF = b"%PDF-1.7\n"
OPENS, CLOSES = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 8, tzinfo=UTC)


def pdf(text: str = "") -> bytes:
    return PDF + text.encode()


def course(**changes) -> CoursePublished:
    family = new_id().hex[-8:]  # the first digits tell the minute
    facts = {
        "course_id": new_id(),
        "course_version_id": new_id(),
        "version": 1,
        "slug": family,
        "code": "7DS501",
        "title": "Data Engineering",
        "description": "-",
        "subject_id": new_id(),
        "subject_name": "Data Science",
        "institution_id": new_id(),
        "institution_name": "Northbridge",
        "credits": 15,
        "level": 7,
        "module_family": family,
        "weeks": 10,
        "criteria": "-",
        "published_at": OPENS,
    }
    return CoursePublished(**{**facts, **changes})


def activation(of: CoursePublished, **changes) -> EnrolmentActivated:
    facts = {
        "enrolment_id": new_id(),
        "learner_id": new_id(),
        "course_id": of.course_id,
        "course_version_id": of.course_version_id,
        "order_id": new_id(),
        "order_line_id": new_id(),
        "regulations_version": "mc-regs-2026.2",
        "activated_at": OPENS,
    }
    return EnrolmentActivated(**{**facts, **changes})


class AssessmentDriver:
    """Short words for what the tests do with the service. Time starts in the window of November 2026."""

    course, activation, pdf = staticmethod(course), staticmethod(activation), staticmethod(pdf)
    opens, closes = OPENS, CLOSES

    def __init__(self, service, session, clock) -> None:
        self.service, self.session, self.clock = service, session, clock
        self.examiner_id, self.marker_id, self.chair_id = new_id(), new_id(), new_id()
        self.examiner = service.client("examiner", "operator", id=self.examiner_id)
        self.marker = service.client("marker", id=self.marker_id)
        self.chair = service.client("examiner", id=self.chair_id)
        """Another examiner, for the board and the panel."""

    async def consume(self, *events) -> None:
        for event in events:
            await inbox.receive(self.session, event)
        await self.session.commit()

    async def enrol(self, of: CoursePublished | None = None, **changes) -> EnrolmentActivated:
        of = of or course()
        activated = activation(of, **changes)
        await self.consume(of, activated)
        return activated

    async def window(self, opens_at=None, closes_at=None, **more) -> UUID:
        opens_at = opens_at or self.clock()
        body = {"opens_at": opens_at.isoformat(), "closes_at": (closes_at or opens_at + timedelta(days=7)).isoformat()}
        answer = await self.examiner.post("/v1/windows", json={**body, **more})
        assert answer.status_code == 201, answer.text
        return UUID(answer.json()["window_id"])

    def learner(self, enrolment: EnrolmentActivated) -> httpx.AsyncClient:
        return self.service.client("learner", id=enrolment.learner_id)

    async def submit(self, enrolment, content=None, **query) -> httpx.Response:
        content = pdf(new_id().hex) if content is None else content
        query = {"filename": "report.pdf", **query}
        return await self.learner(enrolment).put(
            f"/v1/assessments/{enrolment.enrolment_id}/submission", params=query, content=content
        )

    async def receipt(self, enrolment, content=None, **query) -> dict:
        answer = await self.submit(enrolment, content, **query)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def read(self, enrolment) -> dict:
        answer = await self.learner(enrolment).get(f"/v1/assessments/{enrolment.enrolment_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def close(self, window_id) -> None:
        self.clock.advance(seconds=1)
        answer = await self.examiner.post(f"/v1/windows/{window_id}/closing")
        assert answer.status_code == 200, answer.text

    async def mark(self, submission_id, mark, client=None, **more) -> httpx.Response:
        client = client or self.marker
        return await client.post(
            f"/v1/submissions/{submission_id}/marks", json={"mark": str(mark), "feedback": "Read.", **more}
        )

    async def release(self, window_id) -> dict:
        answer = await self.examiner.post(f"/v1/windows/{window_id}/release")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def board(self, window_id) -> httpx.Response:
        return await self.chair.post("/v1/boards", json={"window_id": str(window_id), "minutes_reference": "EB/1"})

    async def attempt(self, enrolment, mark, *, ratified=True) -> UUID:
        """A whole attempt in a window of its own; the window."""
        self.clock.advance(minutes=1)
        window_id = await self.window()
        self.clock.advance(minutes=1)
        receipt = await self.receipt(enrolment, window_id=window_id)
        self.clock.advance(minutes=1)
        await self.close(window_id)
        marked = await self.mark(receipt["submission_id"], mark)
        assert marked.status_code == 201, marked.text
        await self.release(window_id)
        if ratified:
            answer = await self.board(window_id)
            assert answer.status_code == 201, answer.text
        return window_id

    async def cancel(self, enrolment, sequence=2, reason_code="refunded") -> None:
        await self.consume(
            EnrolmentCancelled(
                enrolment_id=enrolment.enrolment_id,
                learner_id=enrolment.learner_id,
                course_id=enrolment.course_id,
                reason_code=reason_code,
                sequence=sequence,
                cancelled_at=self.clock(),
            )
        )

    async def suspend(self, enrolment, sequence=2) -> None:
        await self.consume(
            EnrolmentSuspended(
                enrolment_id=enrolment.enrolment_id,
                learner_id=enrolment.learner_id,
                reason_code="payment_reversed",
                sequence=sequence,
                suspended_at=self.clock(),
            )
        )

    async def announced(self, *kinds) -> list:
        return [event for event in await published(self.session) if not kinds or isinstance(event, kinds)]

    async def uploading(self, *parts) -> AsyncIterator[bytes]:
        """A body in parts; a datetime among them is the instant at which what follows is sent."""
        for part in parts:
            if isinstance(part, datetime):
                self.clock.at = part
            else:
                yield part

    @staticmethod
    def refused(answer: httpx.Response, status: int, code: str) -> dict:
        assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
        return answer.json()

    async def enrol_live(self, of: CoursePublished | None = None, **changes) -> EnrolmentActivated:
        """An enrolment in a database of the test's own, committed."""
        of = of or course()
        enrolment = activation(of, **changes)
        async with self.service.process.database.transaction() as session:
            for event in (of, enrolment):
                await inbox.receive(session, event)
        return enrolment

    async def frozen(self, **changes) -> tuple[EnrolmentActivated, UUID, str]:
        """Work handed in to a window that has closed: enrolment, window, submission."""
        enrolment = await self.enrol(**changes)
        window_id = await self.window()
        receipt = await self.receipt(enrolment)
        await self.close(window_id)
        return enrolment, window_id, receipt["submission_id"]

    @staticmethod
    def sha256(content: bytes) -> str:
        return hashlib.sha256(content).hexdigest()


@pytest.fixture
def driver(service, session, clock) -> AssessmentDriver:
    clock.at = OPENS + timedelta(days=2)
    return AssessmentDriver(service, session, clock)


@pytest.fixture
def driver_class() -> type[AssessmentDriver]:
    """For tests that run on a database of their own."""
    return AssessmentDriver


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> None:
    assert not [name for name in os.environ if name.startswith("MC_") and name not in Settings.foreign_variables()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose path has a space."""
    return tmp_path / "stored files"
