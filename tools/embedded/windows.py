"""An assessment window that is always open in the embedded platform, whatever day of the month somebody tries it."""

import asyncio
import logging
from datetime import timedelta
from typing import Final

from assessment.commands.windows import make_window
from assessment.queries.windows import accepting_windows
from shared.database import Database, advisory_lock, now
from shared.outages import in_words, is_database_down

LASTS: Final = timedelta(days=14)
AHEAD: Final = timedelta(minutes=1)
LOOK_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


async def keep_one_open(assessment: Database) -> None:
    """Open a further window whenever the last one is about to close, or was closed to be marked."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        try:
            await open_one(assessment)
        except Exception as error:
            if not is_database_down(error):
                raise
            log.warning(in_words(error), extra={"error": repr(error)})


async def open_one(assessment: Database) -> bool:
    """Open a window unless one is open for a minute more. Returns whether it opened one."""
    async with assessment.transaction() as session:
        await advisory_lock(session, "sandbox window")
        at = now(session)
        if any(window.closes_at > at + AHEAD for window in await accepting_windows(session, at)):
            return False
        await make_window(session, "sandbox", at, at + LASTS, None)
    return True
