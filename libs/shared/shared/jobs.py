"""Jobs: what a service does because time has passed. One replica at a time does a job."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any, Final, TypeVar, cast

from shared import liveness, telemetry
from shared.batches import delete_in_batches, in_batches
from shared.database import Database
from shared.leases import lease
from shared.messaging.deduplication import KEPT_DAYS
from shared.messaging.history import History
from shared.outages import is_being_cancelled, is_database_down

log = logging.getLogger(__name__)

R = TypeVar("R")

FIRST_HOUR = 3600.0
"""How long after a start, or after another epoch of the database has begun, nothing is removed, in seconds: time to see
that it is the wrong database, or clock."""
UNSETTLED_SECONDS: Final = 1.0
"""Pause between two looks whether what cannot be undone may be done."""


LONGEST_SECONDS: Final = 3600.0
"""Limit for one run of a job: it goes row by row, and the next run goes on where this one was ended."""


class Effect(StrEnum):
    """Whether a job does what could not be undone, were this database an old copy or the wrong one."""

    REVERSIBLE = "reversible"
    """It does not, or only what was decided before: it runs at any time."""
    ENDS = "ends"
    """It concludes from silence that something did not happen: it runs only once every feed has been read and no
    history is lost (`shared.messaging.history`)."""
    REMOVES = "removes"
    """It deletes: it runs only under the same conditions, and not in the first hour after a start."""


ENDS, REMOVES = Effect.ENDS, Effect.REMOVES


@dataclass(frozen=True, slots=True)
class Work:
    """What a job works with. A job opens its own transactions: none may be held while the outside world is asked."""

    database: Database
    resources: Mapping[type, Any]  # Any: whatever app.py built
    history: History | None = None
    """Whether this process has caught up with the other services; None where there are none."""

    def resource(self, kind: type[R]) -> R:
        """Return the resource of this type."""
        return cast("R", self.resources[kind])

    def now(self) -> datetime:
        """Return the present instant by the database's clock."""
        return self.database.clock()


JobFunction = Callable[[Work], Awaitable[None]]


class Jobs:
    """The jobs of one service, and how often each runs."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[float, Effect, bool, JobFunction]] = {}

    def every(
        self, seconds: float, *, effect: Effect = Effect.REVERSIBLE, in_each_process: bool = False
    ) -> Callable[[JobFunction], JobFunction]:
        """Run the decorated job every so many seconds: one replica at a time, or, `in_each_process`, all of them."""

        def register(job: JobFunction) -> JobFunction:
            self._jobs[job.__name__] = (seconds, effect, in_each_process, job)
            return job

        return register

    def __iter__(self) -> Iterator[JobFunction]:
        return (job for _, _, _, job in self._jobs.values())

    @property
    def effects(self) -> Mapping[str, Effect]:
        """The effect of each job, by its name."""
        return {name: effect for name, (_, effect, _, _) in self._jobs.items()}

    async def run(self, work: Work) -> None:
        """Run the jobs when their time comes, for ever."""
        liveness.rest()
        async with asyncio.TaskGroup() as group:
            for name, (seconds, effect, in_each_process, job) in self._jobs.items():
                once = job if in_each_process else partial(run_exclusively, name, job)
                repeating = _repeat(name, seconds, effect, once, work)
                group.create_task(liveness.part(name, repeating), name=f"job {name}")


async def _repeat(
    name: str, seconds: float, effect: Effect, once: Callable[[Work], Awaitable[object]], work: Work
) -> None:
    liveness.rest()
    while True:
        pause = seconds
        telemetry.traceparent.set(telemetry.new_traceparent())
        telemetry.request_id.set(telemetry.accept_request_id(None))
        liveness.beat(LONGEST_SECONDS)
        try:
            if await _may(effect, work.history):
                async with asyncio.timeout(LONGEST_SECONDS):
                    if await once(work) is not False:
                        telemetry.job_succeeded.labels(name).set_to_current_time()
            else:
                pause = min(seconds, UNSETTLED_SECONDS)
        except Exception as error:  # the job runs again at its next time; the failure is logged and counted
            if is_being_cancelled():
                raise
            telemetry.jobs_failed.labels(name).inc()
            log.log(
                logging.WARNING if is_database_down(error) else logging.ERROR,
                "job failed",
                extra={"job": name},
                exc_info=error,
            )
        liveness.beat(pause)
        await asyncio.sleep(pause)


async def _may(effect: Effect, history: History | None) -> bool:
    if effect is Effect.REVERSIBLE or history is None:
        return True
    return await history.settled(for_seconds=FIRST_HOUR if effect is REMOVES else 0.0)


async def run_exclusively(name: str, job: JobFunction, work: Work) -> bool:
    """Run a job unless another replica, or this one, is running it; return whether it ran."""
    async with lease(work.database, f"job {name}") as ours:
        if ours:
            await job(work)
        return ours


async def forget_old_records(work: Work) -> None:
    """Delete idempotency keys after a day and inbox keys after ninety, and blank e-mails after thirty.

    Of an e-mail that was sent, or could not be, the row is kept, so that it is not written again.
    """
    database = work.database
    old = "created_at < now() - interval '24 hours'"
    await delete_in_batches(database, "idempotency_keys", old, by="created_at")
    await delete_in_batches(database, "inbox", f"handled_at < now() - interval '{KEPT_DAYS} days'", by="handled_at")
    await in_batches(database, _BLANK_EMAILS)


_BLANK_EMAILS = """
    update letters set recipient = '', subject = '', text = '', last_error = null
    where letter_id = any(array(
        select letter_id from letters
        where recipient <> '' and coalesce(sent_at, failed_at) < now() - interval '30 days'
        order by coalesce(sent_at, failed_at) limit :most
    ))
"""
