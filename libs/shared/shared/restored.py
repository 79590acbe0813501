"""`python -m <service> restored`: see what a restored database lacks, and accept it."""

import argparse
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.database import Database
from shared.errors import Conflict
from shared.messaging import history
from shared.messaging.epochs import START
from shared.messaging.feed import Feed, FeedAway
from shared.messaging.history import Reader

WHAT_TO_DO: Final = """\
Until this is accepted no job ends, refuses or removes anything here.
1. If a younger copy exists, stop this service and restore that one.
2. Else see what the others have taken in that is missing here: `feed lost <this service>` in each of them, their
   `set-aside list` and `dead-letters list`, the payment provider's list, the e-mails that were sent. What the broker
   had brought to nobody yet is known to none of them. (`feed missing` in each shows the opposite: what did not arrive
   there.)
3. Then `restored accept --by <who> --reason <why>`; payments wants the last receipt number, too, confirms no payment
   before, and compares itself with the provider at once, before and after.
"""


@dataclass(frozen=True, slots=True)
class AcceptStep:
    """An option of `restored accept` that one service requires, and what it does with its value."""

    option: str
    help: str
    run: Callable[[AsyncSession, str], Awaitable[None]]
    known: Callable[[AsyncSession], Awaitable[str]]
    """Returns what is known of the value here, in a line for the person who has to give it."""


class NothingLost(Conflict):
    """Lost history can be accepted only where history was found lost."""


def add_arguments(parser: argparse.ArgumentParser, step: AcceptStep | None = None) -> None:
    """Add the actions of `restored` to its parser."""
    actions = parser.add_subparsers(dest="action", required=True)
    action = actions.add_parser(
        "show", help="whether the others have read, or taken in, what this database does not have; what to do"
    )
    action.set_defaults(step=step)
    action = actions.add_parser("accept", help="go on with what is here: jobs may end and remove again")
    action.add_argument("--by", required=True, help="who decides")
    action.add_argument("--reason", required=True)
    action.set_defaults(step=step, given="")
    if step is not None:
        action.add_argument(step.option, required=True, dest="given", help=step.help)
    action.add_argument("--installation", type=UUID, help="be this one from now on, as which the others know us")


async def readers_of(feeds: Mapping[str, Feed]) -> tuple[list[Reader], list[str]]:
    """Return how far each of the other services has read this one's log, and which could not be asked."""
    found: list[Reader] = []
    away: list[str] = []
    for source, feed in feeds.items():
        try:
            page = await feed.read(["nothing"], START)
        except FeedAway:
            away.append(source)
        else:
            if page.reader is not None:
                found.append(replace(page.reader, service=source))
    return found, away


async def show(database: Database, feeds: Mapping[str, Feed], step: AcceptStep | None = None) -> tuple[list[str], bool]:
    """Return what is known of lost history, in lines, and whether any is lost that nobody has accepted."""
    readers, away = await readers_of(feeds)
    for reader in readers:
        await history.compare(database, reader)
    remembered = {reader.service: await history.is_remembered(database, reader.cursor) for reader in readers}
    lacking = {reader.service: await history.lacking(database, reader.taken) for reader in readers}
    state = await history.state_of(database)
    async with database.transaction() as session:
        last = (await session.execute(text("select coalesce(max(position), 0) from outbox"))).scalar_one()
        known_here = [] if step is None else [await step.known(session)]
    lines = [f"installation {state.installation}, event log to position {last}"]
    for reader in readers:
        known = "" if reader.installation in {None, state.installation} else f" of installation {reader.installation}"
        found = "all of it is here" if remembered[reader.service] else "NOT of this database's history"
        lines.append(f"{reader.service} has read to {reader.cursor}{known}: {found}")
        lines.append(
            f"{reader.service} took in {len(reader.taken)} events last, {len(lacking[reader.service])} NOT here"
        )
    lines += [f"{source} could not be asked" for source in away] + known_here
    if state.lost_at is None:
        lines.append(
            "nothing is known to be lost"
            if state.accepted_at is None
            else f"accepted {state.accepted_at:%Y-%m-%d %H:%M:%SZ}"
        )
    else:
        lines += [f"history is lost, noticed {state.lost_at:%Y-%m-%d %H:%M:%SZ}: {state.lost}", WHAT_TO_DO.rstrip()]
    return lines, state.lost_at is not None


async def accept(
    database: Database,
    feeds: Mapping[str, Feed],
    *,
    installation: UUID | None,
    by: str,
    reason: str,
    step: AcceptStep | None = None,
    given: str = "",
) -> str:
    """Accept that history is lost, after the service's own step; return a line that says what is left to do.

    Raises NothingLost: none is known to be lost; NotThisDatabase (`history.accept`); and whatever the step raises.
    """
    readers, away = await readers_of(feeds)
    for reader in readers:
        await history.compare(database, reader)
    state = await history.state_of(database)
    later = f"; not asked: {', '.join(away)}" if away else ""
    if state.lost_at is None and {reader.installation for reader in readers} <= {None, state.installation}:
        raise NothingLost(f"nothing is known to be lost here{later}")
    async with database.transaction() as session:
        await history.accept(session, readers, installation=installation, by=by, reason=reason)
        if step is not None:
            await step.run(session, given)
    foreign = [
        reader.service for reader in readers if reader.installation not in {None, installation or state.installation}
    ]
    reset = f"; `feed reset --installation {installation}` in {', '.join(foreign)}" if foreign else ""
    return f"accepted{later}{reset}"
