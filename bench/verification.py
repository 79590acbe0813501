"""The public verification page, one process on one core, against the same bytes without a database or a check.

And pages looked at for the first time, against what no verifier of the same proof in this language gets around:
expanding it once and canonicalising it once with PyLD.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from uuid import UUID

import httpx
from sqlalchemy import select

from bench.alone import alone, prepared
from bench.badges import COURSE
from bench.measuring import Bench, Limit, Result, alternate
from bench.programs import EACH_ANOTHER, SERVER_CORE, fastapi, running, wrk
from credentials.handlers import inbox
from credentials.tables.issued import Badge
from credentials.tables.people import Learner, Person
from embedded import ports
from embedded.services import Deployment, build
from openbadges.json_ld import canonicalise, check_terms
from shared.events.assessment import CreditAwarded
from shared.events.catalogue import CoursePublished, Skill
from shared.ids import new_id
from shared.testing.services import FrozenClock, ServiceUnderTest

AGAIN, FIRST = Limit(0.25, 0.45, 0.5), Limit(0.25, 0.5)


async def measure(bench: Bench) -> list[Result]:
    first = ports.suggest(len(ports.NAMES) + 1)
    bare = first + len(ports.NAMES)
    seconds = 1 if bench.short else 5
    each = bench.size(100)
    async with AsyncExitStack() as stack:
        deployment = await stack.enter_async_context(prepared("credentials", bench.folder / "credentials", first))
        badges = await _order(deployment, each * bench.rounds + 1)
        await stack.enter_async_context(alone("credentials", deployment))
        base = deployment.url("credentials")
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, base_url=base, timeout=30))
        page = await _published(client, f"/verify/{badges[0]}")
        document = (await client.get(f"/credentials/{badges[-1]}")).raise_for_status().json()
        unseen = iter(badges[1:])

        async def look() -> float:
            began = time.perf_counter()
            for badge in islice(unseen, each):
                (await client.get(f"/verify/{badge}")).raise_for_status()
            return each / (time.perf_counter() - began)

        async def compute() -> float:
            await asyncio.sleep(0)
            unsigned = {name: member for name, member in document.items() if name != "proof"}
            began = time.perf_counter()
            for _ in range(each):
                check_terms(document)
                canonicalise(unsigned)
            return each / (time.perf_counter() - began)

        async with running(fastapi(page, bench.folder, bare), SERVER_CORE, bench.folder / "bare.log", bare):
            rates = await alternate(
                bench.rounds,
                {
                    "bare": lambda: wrk(f"http://127.0.0.1:{bare}/", seconds),
                    "again": lambda: wrk(f"{base}/verify/{badges[0]}", seconds, script=EACH_ANOTHER),
                    "first": look,
                    "pyld": compute,
                },
            )

    def result(measured: str, name: str, of: str, limit: Limit, yardstick: str) -> Result:
        detail = f"{rates[name]:,.0f} of {rates[of]:,.0f}"
        return Result(measured, f"per s of {yardstick}", rates[name] / rates[of], limit, detail)

    return [
        result("verification page, asked before", "again", "bare", AGAIN, "FastAPI without a database"),
        result("verification page, first look", "first", "pyld", FIRST, "PyLD alone, same proof"),
    ]


async def _order(deployment: Deployment, count: int) -> list[UUID]:
    """A ratified pass of as many learners; the service signs their badges as soon as it runs."""
    now = datetime.now(UTC)
    credentials = ServiceUnderTest(build("credentials", deployment), FrozenClock(now))
    course = CoursePublished(
        course_id=new_id(),
        course_version_id=new_id(),
        version=1,
        slug=COURSE.code.lower(),
        code=COURSE.code,
        title=COURSE.name,
        description=COURSE.description,
        subject_id=new_id(),
        subject_name="Data Science",
        institution_id=new_id(),
        institution_name="University of Example",
        credits=COURSE.credits,
        level=COURSE.level,
        module_family=COURSE.code,
        weeks=10,
        criteria=COURSE.criteria,
        skills=tuple(Skill(**vars(skill)) for skill in COURSE.skills),
        published_at=now,
    )
    async with credentials.process.database.transaction() as session:
        await inbox.receive(session, course)
        for number in range(count):
            learner = new_id()
            names = {"legal_name": "Ada Lovelace", "display_name": "Ada", "email": f"{number}@learner.example"}
            session.add(Learner(learner_id=learner, name_version=1, registered_at=now))
            known = {"contact_version": 1, "confirmation_version": 1, "email_confirmed": True}
            session.add(Person(learner_id=learner, name_version=1, read_at=now, **known, **names))
            await inbox.receive(session, _pass(course, learner, now))
        badges = list(await session.scalars(select(Badge.badge_id)))
    await credentials.process.http.aclose()
    await credentials.process.database.dispose()
    return badges


def _pass(course: CoursePublished, learner: UUID, now: datetime) -> CreditAwarded:
    return CreditAwarded(
        credit_id=new_id(),
        learner_id=learner,
        enrolment_id=new_id(),
        submission_id=new_id(),
        course_id=course.course_id,
        course_version_id=course.course_version_id,
        course_code=course.code,
        course_title=course.title,
        module_family=course.module_family,
        subject_id=course.subject_id,
        subject_name=course.subject_name,
        credits=course.credits,
        level=course.level,
        mark=Decimal(68),
        attempt_no=1,
        board_id=new_id(),
        regulations_version="mc-regs-2026.2",
        ratified_at=now,
    )


async def _published(client: httpx.AsyncClient, path: str) -> bytes:
    """The page, once the badges are signed and the status list is published."""
    async with asyncio.timeout(120):
        while True:
            answer = await client.get(path)
            if answer.is_success and b"<strong>Valid</strong>" in answer.content:
                return answer.content
            await asyncio.sleep(1)
