"""Door 3, the clock: what a service does when time passes. One replica at a time does a job."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar, cast

from shared import telemetry
from shared.batches import delete_in_batches, in_batches
from shared.database import Database, lock_number
from shared.messaging.claim import KEPT_DAYS
from shared.outages import is_being_cancelled, is_database_down

log = logging.getLogger(__name__)

R = TypeVar("R")

FIRST_HOUR = 3600.0
"""After a start nothing is removed for so long, in seconds: time to see that it is the wrong database, or clock."""


class Effect(StrEnum):
    """What a job does that cannot be undone, were this database an old copy or the wrong one."""

    REVERSIBLE = "reversible"
    """Nothing: or only what was decided before."""
    ENDS = "ends"
    """It concludes from the time alone that something did not happen: only once every feed has been read."""
    REMOVES = "removes"
    """It deletes: likewise, and not in the first hour after a start."""


ENDS, REMOVES = Effect.ENDS, Effect.REMOVES


def _heard() -> asyncio.Event:
    heard = asyncio.Event()
    heard.set()
    return heard


@dataclass(frozen=True, slots=True)
class Work:
    """What a job works with. It opens its own transactions: none may be held while the outside world is asked."""

    database: Database
    resources: Mapping[type, Any]  # Any: whatever app.py built
    caught_up: asyncio.Event = field(default_factory=_heard)
    """Set once this process has heard what the others announced before it started (`Reconciler.caught_up`)."""

    def resource(self, kind: type[R]) -> R:
        return cast("R", self.resources[kind])

    def now(self) -> datetime:
        return self.database.clock()


JobFunction = Callable[[Work], Awaitable[None]]


class Jobs:
    """The table of what one service does by itself, and how often."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[float, Effect, bool, JobFunction]] = {}

    def every(
        self, seconds: float, *, effect: Effect = Effect.REVERSIBLE, in_each_process: bool = False
    ) -> Callable[[JobFunction], JobFunction]:
        """`in_each_process`: it is about the process, and each does it."""

        def register(job: JobFunction) -> JobFunction:
            self._jobs[job.__name__] = (seconds, effect, in_each_process, job)
            return job

        return register

    def __iter__(self) -> Iterator[JobFunction]:
        return (job for _, _, _, job in self._jobs.values())

    @property
    def effects(self) -> Mapping[str, Effect]:
        """By the job's name."""
        return {name: effect for name, (_, effect, _, _) in self._jobs.items()}

    async def run(self, work: Work) -> None:
        async with asyncio.TaskGroup() as group:
            for name, (seconds, effect, in_each_process, job) in self._jobs.items():
                turn = job if in_each_process else partial(take_turn, name, job)
                group.create_task(_repeat(name, seconds, effect, turn, work), name=f"job {name}")


async def _repeat(
    name: str, seconds: float, effect: Effect, turn: Callable[[Work], Awaitable[object]], work: Work
) -> None:
    if effect is REMOVES:
        await asyncio.sleep(FIRST_HOUR)
    if effect is not Effect.REVERSIBLE:
        await work.caught_up.wait()
    while True:
        telemetry.traceparent.set(telemetry.new_traceparent())
        telemetry.request_id.set(telemetry.accept_request_id(None))
        try:
            await turn(work)
        except Exception as error:  # a job is tried again at its next time; what fails is told, and counted
            if is_being_cancelled():
                raise
            telemetry.jobs_failed.labels(name).inc()
            log.log(
                logging.WARNING if is_database_down(error) else logging.ERROR,
                "job failed",
                extra={"job": name},
                exc_info=error,
            )
        await asyncio.sleep(seconds)


async def take_turn(name: str, job: JobFunction, work: Work) -> bool:
    """Do the job unless another replica, or this one, is at it; whether it was done."""
    async with work.database.side.hold(lock_number("job", name)) as ours:
        if ours:
            await job(work)
        return ours


async def forget_old_records(work: Work) -> None:
    """Housekeeping every service does: idempotency keys live a day, inbox keys ninety. After thirty a letter that was
    sent, or could not be, is blank: that it was written is kept, so that it is not written again."""
    database = work.database
    old = "created_at < now() - interval '24 hours'"
    await delete_in_batches(database, "idempotency_keys", old, by="created_at")
    await delete_in_batches(database, "inbox", f"handled_at < now() - interval '{KEPT_DAYS} days'", by="handled_at")
    await in_batches(database, _BLANK_LETTERS)


_BLANK_LETTERS = """
    update letters set recipient = '', subject = '', text = '', last_error = null
    where letter_id = any(array(
        select letter_id from letters
        where recipient <> '' and coalesce(sent_at, failed_at) < now() - interval '30 days'
        order by coalesce(sent_at, failed_at) limit :most
    ))
"""
