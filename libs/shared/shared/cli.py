"""`python -m <service>`: run it, migrate its database, print its OpenAPI document, and operate its dead letters, rows
set aside, e-mails, feeds and event log."""

import argparse
import asyncio
import io
import json
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar, cast
from uuid import UUID

from sqlalchemy.dialects.postgresql.asyncpg import AsyncAdapt_asyncpg_dbapi
from sqlalchemy.exc import DBAPIError

from shared import due_rows, emails, restored
from shared.database import Database, Unknown
from shared.errors import DomainError
from shared.messaging import dead_letters, event_log, missing, relay
from shared.messaging.tables import DeadLetter, QueuedEmail, SetAside
from shared.migrate import migrate
from shared.outages import is_database_down
from shared.peers import PeerAway
from shared.process import STOP_SECONDS, Process
from shared.running import run_loop, settle, stop_on_signals
from shared.service import Service
from shared.settings import ServiceSettings, read_settings
from shared.telemetry import log_as_json
from shared.texts import in_a_line

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True)
class Command:
    """A command that only one service has; `run` returns the exit status."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Database, argparse.Namespace], Coroutine[None, None, int]]


def main(
    settings: Callable[..., S],
    build: Callable[[S], Service],
    own: Sequence[Command] = (),
    accepting: restored.AcceptStep | None = None,
) -> None:
    """Run the command line of one service; its settings class, called without arguments, reads the environment."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a letter that the terminal's encoding lacks ends no listing
        cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="backslashreplace")
    arguments = _parser(build.__doc__, own, accepting).parse_args()
    service = build(read_settings(settings))
    if arguments.command == "migrate":
        log_as_json(service.name, release=service.settings.release, level=service.settings.log_level)
        sys.exit(asyncio.run(report_errors(_migrate(service))))
    elif arguments.command == "openapi":
        asyncio.run(_print_openapi(service))
    elif chosen := next((command for command in own if command.name == arguments.command), None):
        log_as_json(service.name, release=service.settings.release, level=service.settings.log_level)
        sys.exit(asyncio.run(report_errors(_on_database(service, chosen, arguments))))
    elif ask := _ASKED.get(arguments.command or "run"):
        sys.exit(asyncio.run(report_errors(ask(service, arguments))))
    else:
        log_as_json(service.name, release=service.settings.release, level=service.settings.log_level)
        sys.exit(run_loop(report_errors(_run(service))))


async def report_errors(command: Coroutine[None, None, int]) -> int:
    """Run a command and return the exit status; a DomainError, or an outage, is printed in a line."""
    try:
        return await command
    except DomainError as domain_error:
        sys.stderr.write(f"{domain_error.detail}\n")
    except Exception as error:
        if not (isinstance(error, PeerAway) or is_database_down(error)):
            raise
        sys.stderr.write(f"not done: {_words(error)}\n")
    return 1


def _words(error: BaseException) -> str:
    """Return an error's message, the driver's own where there is one, in a line."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return _words(error.orig)
    if isinstance(error, AsyncAdapt_asyncpg_dbapi.Error) and error.__cause__ is not None:
        return _words(error.__cause__)
    return " ".join(str(error).split()) or type(error).__name__


def _parser(
    description: str | None, own: Sequence[Command], accepting: restored.AcceptStep | None
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="serve (the default)")
    commands.add_parser("migrate", help="bring the database to this release's schema")
    commands.add_parser("openapi", help="print the OpenAPI document")
    table = commands.add_parser("dead-letters", help="messages that could not be handled")
    actions = table.add_subparsers(dest="action", required=True)
    actions.add_parser("list")
    for name in ("show", "redrive", "discard"):
        action = actions.add_parser(name)
        action.add_argument("dead_letter_id", type=UUID)
        if name != "show":
            action.add_argument("--by", required=True, help="who decides")
            action.add_argument("--reason", required=True)
        if name == "redrive":
            action.add_argument("--body", type=Path, help="a mended message to handle in its place")
    table = commands.add_parser("set-aside", help="rows on which a job failed")
    actions = table.add_subparsers(dest="action", required=True)
    actions.add_parser("list")
    action = actions.add_parser("retry", help="let the job look at it again now")
    action.add_argument("job")
    action.add_argument("row_key")
    table = commands.add_parser("emails", help="e-mails that failed or wait for the mail server")
    actions = table.add_subparsers(dest="action", required=True)
    actions.add_parser("list")
    action = actions.add_parser("resend", help="send one that failed after all")
    action.add_argument("email_id", type=UUID)
    table = commands.add_parser("feed", help="the event logs of the other services, as far as this one has read them")
    actions = table.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="how far each was read, and when")
    actions.add_parser("missing", help="read them from the beginning and list what never arrived here; changes nothing")
    action = actions.add_parser(
        "lost", help="list what arrived here and its source does not have any more; changes nothing"
    )
    action.add_argument("source", nargs="*", help="the service that was restored; all, where none is named")
    action = actions.add_parser("reset", help="have them read from the beginning by the service that runs")
    action.add_argument("source", nargs="*", help="the service whose log it is; all, where none is named")
    action.add_argument("--installation", type=UUID, help="read it as this one's, whichever was read before")
    table = commands.add_parser("restored", help="whether a restored database lacks what others know")
    restored.add_arguments(table, accepting)
    table = commands.add_parser("outbox", help="the event log, a part a year, and the events in it that were refused")
    actions = table.add_subparsers(dest="action", required=True)
    actions.add_parser("list")
    actions.add_parser("refused", help="events that the broker did not keep, as one too large for it; tried again")
    actions.add_parser("retry", help="have every refused event tried again now")
    action = actions.add_parser(
        "detach", help="take away a part that is past the years it is kept; it stays as a table"
    )
    action.add_argument("part")
    for command in own:
        command.arguments(commands.add_parser(command.name, help=command.help))
    return parser


async def _run(service: Service) -> int:
    settings = service.settings
    within = settings.unready_seconds + settings.drain_seconds + 3 * STOP_SECONDS
    async with stop_on_signals(within=within) as stop:
        process = Process(service)
        settle()
        await process.run(stop)
    return 0


async def _migrate(service: Service) -> int:
    await migrate(service.settings.database_url, service.versions)
    return 0


async def _on_database(service: Service, command: Command, arguments: argparse.Namespace) -> int:
    database = Process(service).database
    try:
        await database.set_clock()
        return await command.run(database, arguments)
    finally:
        await database.dispose()


async def _print_openapi(service: Service) -> None:
    json.dump(Process(service).api.openapi(), sys.stdout, indent=2)


async def _dead_letters(service: Service, arguments: argparse.Namespace) -> int:
    database = Process(service).database
    out = sys.stdout
    try:
        if arguments.action == "redrive":
            await database.set_clock()
            body = arguments.body.read_bytes() if arguments.body else None
            handled = await dead_letters.redrive(
                database,
                service.inbox,
                arguments.dead_letter_id,
                by=arguments.by,
                reason=arguments.reason,
                body=body,
            )
            out.write("handled\n" if handled else "had been handled meanwhile\n")
        elif arguments.action == "discard":
            await dead_letters.discard(database, arguments.dead_letter_id, by=arguments.by, reason=arguments.reason)
            out.write("discarded\n")
        else:
            async with database.transaction() as session:
                rows = await dead_letters.list_dead_letters(session)
            if arguments.action == "list":
                _print(map(_line_of_dead_letter, rows), "dead letters")
                return 0
            row = next((one for one in rows if one.dead_letter_id == arguments.dead_letter_id), None)
            if row is None:
                raise Unknown(f"no dead letter {arguments.dead_letter_id} waits for a decision")
            out.write(f"{row.reason}: {row.error}\n{row.body.decode(errors='replace')}\n")
    finally:
        await database.dispose()
    return 0


def _line_of_dead_letter(row: DeadLetter) -> str:
    return f"{row.dead_letter_id}  {_at(row.dead_lettered_at)}  {in_a_line(row.type)}  {row.reason}"


def _print(lines: Iterable[str], what: str) -> None:
    """Print a list, and how many there are: where there is none, that is said, too."""
    count = 0
    for line in lines:
        sys.stdout.write(f"{line}\n")
        count += 1
    sys.stdout.write(f"{count} {what}\n")


def _at(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%SZ}"


async def _set_aside(service: Service, arguments: argparse.Namespace) -> int:
    database = Process(service).database
    out = sys.stdout
    try:
        async with database.transaction() as session:
            if arguments.action == "retry":
                await due_rows.retry(session, arguments.job, arguments.row_key)
                out.write("due\n")
                return 0
            rows = await due_rows.list_set_aside(session)
        _print(map(_line_of_set_aside, rows), "set aside")
    finally:
        await database.dispose()
    return 0


def _line_of_set_aside(row: SetAside) -> str:
    what = f"{row.job}  {in_a_line(row.row_key)}"
    return f"{what}  since {_at(row.first_failed_at)}  {row.failures} times  {in_a_line(row.last_error)}"


async def _emails(service: Service, arguments: argparse.Namespace) -> int:
    database, out = Process(service).database, sys.stdout
    try:
        async with database.transaction() as session:
            if arguments.action == "resend":
                await emails.resend(session, arguments.email_id)
                out.write("due\n")
                return 0
            rows = await emails.list_unsent(session)
        _print(map(_line_of_email, rows), "e-mails that failed, or wait after a failure")
    finally:
        await database.dispose()
    return 0


def _line_of_email(row: QueuedEmail) -> str:
    state = f"failed {_at(row.failed_at)}" if row.failed_at else "waits"
    return f"{row.email_id}  {row.kind}  written {_at(row.created_at)}  {state}  {in_a_line(row.last_error)}"


async def _feed(service: Service, arguments: argparse.Namespace) -> int:
    """Return the exit status: 1 where events are missing or lost, or cannot be told from missing ones."""
    process, out, found, unreadable = Process(service), sys.stdout, 0, 0
    try:
        if arguments.action == "list":
            async with process.database.transaction() as session:
                rows = await missing.positions(session)
            _print(
                (f"{row.source}  {row.cursor}  {len(row.types)} types  {_at(row.read_at)}" for row in rows),
                "feeds read",
            )
        elif arguments.action == "reset":
            async with process.database.transaction() as session:
                count = await missing.read_anew(session, arguments.source, arguments.installation)
            out.write(f"{count} to be read from the beginning\n")
        elif arguments.action == "lost":
            feeds = process.feeds()
            if unknown := set(arguments.source) - set(feeds):
                raise Unknown(f"no other service is called {in_a_line(' or '.join(sorted(unknown)))}")
            named = {name: feed for name, feed in feeds.items() if not arguments.source or name in arguments.source}
            async for event in missing.lost(process.database, named):
                found += 1
                about = f"about {in_a_line(event.subject)}  announced {_at(event.made_at)}"
                out.write(f"{in_a_line(event.type)}  {event.id}  {about}\n")
            out.write(f"{found} lost\n")
        else:
            async for one in missing.missing(process.database, service.inbox, process.feeds()):
                if isinstance(one, missing.UnreadableEntry):
                    unreadable += 1
                    where = f"{one.source}, entry {one.number} after {one.after}, SHA-256 {one.sha256}"
                    out.write(f"unreadable: {where}: {in_a_line(one.error)}\n")
                    continue
                found += 1
                note = "  (older than the keys that are kept)" if one.forgotten else ""
                out.write(f"{in_a_line(one.type)}  {one.id}{note}\n")
            out.write(f"{found} missing\n")
            if unreadable:
                out.write(f"{unreadable} unreadable\n")
    finally:
        await process.http.aclose()
        await process.database.dispose()
    return 1 if found or unreadable else 0


async def _restored(service: Service, arguments: argparse.Namespace) -> int:
    """Return the exit status: 1 where history is lost that nobody has accepted."""
    process, lost = Process(service), False
    try:
        if arguments.action == "accept":
            given = {name: getattr(arguments, name) for name in ("installation", "by", "reason", "step", "given")}
            lines = [await restored.accept(process.database, process.feeds(), **given)]
        else:
            lines, lost = await restored.show(process.database, process.feeds(), arguments.step)
        sys.stdout.writelines(f"{line}\n" for line in lines)
    finally:
        await process.http.aclose()
        await process.database.dispose()
    return 1 if lost else 0


async def _outbox(service: Service, arguments: argparse.Namespace) -> int:
    database, out = Process(service).database, sys.stdout
    try:
        async with database.transaction() as session:
            if arguments.action == "detach":
                years = service.settings.event_log_years
                part = await event_log.detach(session, arguments.part, kept_years=years)
                out.write(f"{part.name} is a table of its own now; dump it, then drop it\n")
            elif arguments.action == "refused":
                _print(map(_line_of_refused, await relay.list_refused(session)), "refused")
            elif arguments.action == "retry":
                out.write(f"{await relay.retry_refused(session)} due\n")
            else:
                for part in await event_log.parts(session):
                    size = f"about {part.events} events  {part.bytes / 1e6:.1f} MB"
                    out.write(f"{part.name}  to {part.last_year}  {size}\n")
    finally:
        await database.dispose()
    return 0


def _line_of_refused(event: relay.RefusedEvent) -> str:
    tried = f"written {_at(event.created_at)}  {event.attempts} times  again {_at(event.next_attempt_at)}"
    return f"{event.id}  {in_a_line(event.type)}  {tried}  {in_a_line(event.last_error)}"


_ASKED: Mapping[str | None, Callable[[Service, argparse.Namespace], Coroutine[None, None, int]]] = {
    "dead-letters": _dead_letters,
    "set-aside": _set_aside,
    "emails": _emails,
    "feed": _feed,
    "restored": _restored,
    "outbox": _outbox,
}
