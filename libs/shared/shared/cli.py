"""`python -m <service>`: run it, migrate its database, print its OpenAPI document, see to its parked messages,
the feeds it reads and its event log."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from shared import due_rows
from shared.database import Database
from shared.errors import Refusal
from shared.messaging import event_log, missing, parked
from shared.migrate import migrate
from shared.service import Process, Service, run_loop, settle, stop_on_signals
from shared.settings import ServiceSettings
from shared.telemetry import log_as_json

S = TypeVar("S", bound=ServiceSettings)


@dataclass(frozen=True)
class Command:
    """A command of one service's own; `run` returns the exit status."""

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[Database, argparse.Namespace], Coroutine[None, None, int]]


def main(settings: Callable[..., S], build: Callable[[S], Service], own: Sequence[Command] = ()) -> None:
    """The command line of one service; its settings class, called without arguments, reads the environment."""
    arguments = _parser(build.__doc__, own).parse_args()
    service = build(settings())
    if arguments.command == "migrate":
        log_as_json(service.name, release=service.settings.release, level=service.settings.log_level)
        asyncio.run(migrate(service.settings.database_url, service.versions))
    elif arguments.command == "openapi":
        asyncio.run(_print_openapi(service))
    elif chosen := next((command for command in own if command.name == arguments.command), None):
        log_as_json(service.name, release=service.settings.release, level=service.settings.log_level)
        sys.exit(asyncio.run(_told(_on_database(service, chosen, arguments))))
    elif ask := {"parked": _parked, "set-aside": _set_aside, "feed": _feed, "outbox": _outbox}.get(
        arguments.command or "run"
    ):
        sys.exit(asyncio.run(_told(ask(service, arguments))))
    else:
        log_as_json(service.name, release=service.settings.release, level=service.settings.log_level)
        run_loop(_run(service))


async def _told(command: Coroutine[None, None, int]) -> int:
    """The exit status; what is refused is told in a line."""
    try:
        return await command
    except Refusal as refusal:
        sys.stderr.write(f"{refusal.detail}\n")
        return 1


def _parser(description: str | None, own: Sequence[Command]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("run", help="serve (the default)")
    commands.add_parser("migrate", help="bring the database to this release's schema")
    commands.add_parser("openapi", help="print the OpenAPI document")
    table = commands.add_parser("parked", help="messages that could not be handled")
    actions = table.add_subparsers(dest="action", required=True)
    actions.add_parser("list")
    for name in ("show", "redrive", "discard"):
        action = actions.add_parser(name)
        action.add_argument("parked_id", type=UUID)
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
    table = commands.add_parser("feed", help="the event logs of the other services, as far as this one has read them")
    actions = table.add_subparsers(dest="action", required=True)
    actions.add_parser("list", help="how far each was read, and when")
    actions.add_parser("missing", help="read them from the beginning and list what never arrived here; changes nothing")
    action = actions.add_parser("reset", help="have them read from the beginning by the service that runs")
    action.add_argument("source", nargs="*", help="the service whose log it is; all, where none is named")
    table = commands.add_parser("outbox", help="the event log, a part a year")
    actions = table.add_subparsers(dest="action", required=True)
    actions.add_parser("list")
    action = actions.add_parser(
        "detach", help="take away a part that is past the years it is kept; it stays as a table"
    )
    action.add_argument("part")
    for command in own:
        command.arguments(commands.add_parser(command.name, help=command.help))
    return parser


async def _run(service: Service) -> None:
    async with stop_on_signals() as stop:
        process = Process(service)
        settle()
        await process.run(stop)


async def _on_database(service: Service, command: Command, arguments: argparse.Namespace) -> int:
    database = Process(service).database
    try:
        await database.set_clock()
        return await command.run(database, arguments)
    finally:
        await database.dispose()


async def _print_openapi(service: Service) -> None:
    json.dump(Process(service).api.openapi(), sys.stdout, indent=2)


async def _parked(service: Service, arguments: argparse.Namespace) -> int:
    database = Process(service).database
    out = sys.stdout
    try:
        if arguments.action == "redrive":
            await database.set_clock()
            body = arguments.body.read_bytes() if arguments.body else None
            handled = await parked.redrive(
                database,
                service.inbox,
                arguments.parked_id,
                by=arguments.by,
                reason=arguments.reason,
                body=body,
            )
            out.write("handled\n" if handled else "had been handled meanwhile\n")
        elif arguments.action == "discard":
            await parked.discard(database, arguments.parked_id, by=arguments.by, reason=arguments.reason)
            out.write("discarded\n")
        else:
            async with database.transaction() as session:
                for row in await parked.list_parked(session):
                    if arguments.action == "list":
                        out.write(f"{row.parked_id}  {row.parked_at:%Y-%m-%d %H:%M:%SZ}  {row.type}  {row.reason}\n")
                    elif row.parked_id == arguments.parked_id:
                        out.write(f"{row.reason}: {row.error}\n{row.body.decode(errors='replace')}\n")
    finally:
        await database.dispose()
    return 0


async def _set_aside(service: Service, arguments: argparse.Namespace) -> int:
    database = Process(service).database
    out = sys.stdout
    try:
        async with database.transaction() as session:
            if arguments.action == "retry":
                await due_rows.retry(session, arguments.job, arguments.row_key)
                out.write("due\n")
                return 0
            for row in await due_rows.list_set_aside(session):
                since = f"{row.first_failed_at:%Y-%m-%d %H:%M:%SZ}"
                out.write(f"{row.job}  {row.row_key}  since {since}  {row.failures} times  {row.last_error}\n")
    finally:
        await database.dispose()
    return 0


async def _feed(service: Service, arguments: argparse.Namespace) -> int:
    """The exit status: 1 where something is missing."""
    process, out, found = Process(service), sys.stdout, 0
    try:
        if arguments.action == "list":
            async with process.database.transaction() as session:
                for row in await missing.positions(session):
                    out.write(f"{row.source}  {row.cursor}  {len(row.types)} types  {row.read_at:%Y-%m-%d %H:%M:%SZ}\n")
        elif arguments.action == "reset":
            async with process.database.transaction() as session:
                count = await missing.read_anew(session, arguments.source)
            out.write(f"{count} to be read from the beginning\n")
        else:
            async for one in missing.missing(process.database, service.inbox, process.feeds()):
                found += 1
                note = "  (older than the keys that are kept)" if one.forgotten else ""
                out.write(f"{one.type}  {one.id}{note}\n")
            out.write(f"{found} missing\n")
    finally:
        await process.http.aclose()
        await process.database.dispose()
    return 1 if found else 0


async def _outbox(service: Service, arguments: argparse.Namespace) -> int:
    database, out = Process(service).database, sys.stdout
    try:
        async with database.transaction() as session:
            if arguments.action == "detach":
                years = service.settings.event_log_years
                part = await event_log.detach(session, arguments.part, kept_years=years)
                out.write(f"{part.name} is a table of its own now; dump it, then drop it\n")
            else:
                for part in await event_log.parts(session):
                    size = f"{part.events} events  {part.bytes / 1e6:.1f} MB"
                    out.write(f"{part.name}  to {part.ends_at.year - 1}  {size}\n")
    finally:
        await database.dispose()
    return 0


_ASKED: Mapping[str | None, Callable[[Service, argparse.Namespace], Coroutine[None, None, int]]] = {
    "parked": _parked,
    "set-aside": _set_aside,
    "feed": _feed,
    "outbox": _outbox,
}
