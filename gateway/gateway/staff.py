"""`python -m gateway.staff`: what an operator does at the machine, before and beside the API.

A password is read from standard input, never from the command line, where others could see it.
"""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Iterable, Sequence
from uuid import UUID

from gateway import queries
from gateway.adapters.hashing import Hashing
from gateway.app import build, common_passwords
from gateway.commands import accounts, grants, keys
from gateway.domain import accounts as rules
from gateway.settings import Settings
from shared.cli import report_errors
from shared.database import Database, Unknown
from shared.process import Process
from shared.settings import read_settings

_THERE_IS_ONE = "`grant-roles` gives it roles by its id, `set-password` another password"


async def open_staff_account(database: Database, email: str, password: str, roles: Iterable[str]) -> UUID:
    """Open an account with these roles; never give them to one that exists, whose owner may be anybody.

    :raises DomainError: the address is taken, or the password or a role is not acceptable
    """
    wanted = rules.check_roles(roles)
    rules.check_password(password, email, common_passwords())
    hashed = await Hashing(threads=1).make(password)
    async with database.transaction() as session:
        try:
            account = await accounts.open_account(session, email, hashed, roles=wanted, granted_by=_operator())
        except rules.EmailTaken as taken:
            raise rules.EmailTaken(f"{taken.detail}; {_THERE_IS_ONE}") from taken
        return account.account_id


async def grant_roles(database: Database, account_id: UUID, roles: Iterable[str]) -> list[str]:
    """Give an account roles besides those it has. Returns all it has then.

    By the account's id, which its owner reads at `GET /v1/accounts/me`: an e-mail address proves nothing.

    :raises DomainError: there is no such account or role
    """
    async with database.transaction() as session:
        return await grants.give_roles(session, account_id, roles, granted_by=_operator())


async def take_roles(database: Database, account_id: UUID, roles: Iterable[str]) -> list[str]:
    """Take roles from an account and end its sessions, also from an operator whom the others cannot remove.

    Returns the roles it has left.

    :raises DomainError: there is no such account
    """
    async with database.transaction() as session:
        left = await grants.take_roles(session, account_id, list(roles), taken_by=_operator())
        await accounts.end_sessions(session, account_id, "roles_taken")
        return left


async def set_password(database: Database, hashing: Hashing, email: str, password: str) -> bool:
    """Set the password of the account of this address and end its sessions, unless it has that password already.

    Returns False where there is no such account.
    """
    key = rules.email_key(email)
    async with database.transaction() as session:
        account = await queries.account_by_email(session, key)
        present = account.password_hash if account else None
    if account is None:
        return False
    if not await hashing.matches(present, password):
        hashed = await hashing.make(password)
        async with database.transaction() as session:
            account = await queries.account_by_email(session, key)
            if account is None:
                return False
            account.password_hash = hashed
            await accounts.end_sessions(session, account.account_id, "password_changed")
    return True


def _operator() -> str:
    return f"command line ({os.environ.get('USER', 'unknown')})"


def _read_password() -> str:
    return getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def parse_command(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the arguments of the command line."""
    parser = argparse.ArgumentParser(prog="python -m gateway.staff", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    opening = commands.add_parser("open-account", help="open an account with roles")
    opening.add_argument("email")
    opening.add_argument("--role", action="append", required=True, choices=rules.ROLES, dest="roles")
    granting = commands.add_parser("grant-roles", help="give roles to an account there is")
    granting.add_argument("account_id", type=UUID, help="its owner sees it at GET /v1/accounts/me")
    granting.add_argument("--role", action="append", required=True, choices=rules.ROLES, dest="roles")
    taking = commands.add_parser("take-roles", help="take roles from an account and end its sessions")
    taking.add_argument("account_id", type=UUID, help="as GET /v1/accounts gives it")
    taking.add_argument("--role", action="append", required=True, choices=rules.ROLES, dest="roles")
    setting = commands.add_parser("set-password", help="give an account another password and end its sessions")
    setting.add_argument("email")
    moving = commands.add_parser("set-email", help="let an account sign in with another address")
    moving.add_argument("account_id", type=UUID, help="its owner sees it at GET /v1/accounts/me")
    moving.add_argument("email")
    commands.add_parser("list-keys", help="the signing keys and their states")
    commands.add_parser("rotate-keys", help="let the next signing key sign")
    withdrawing = commands.add_parser("withdraw-key", help="refuse what a key signed, e.g. because it leaked")
    withdrawing.add_argument("kid")
    return parser.parse_args(arguments)


async def run_command(arguments: argparse.Namespace, settings: Settings) -> int:
    """Run the command. Returns the exit status.

    :raises DomainError: a rule says no
    """
    process = Process(build(settings))
    database, secret_box = process.database, settings.secret_box()
    try:
        if arguments.command == "open-account":
            account_id = await open_staff_account(database, arguments.email, _read_password(), arguments.roles)
            sys.stdout.write(f"{account_id}\n")
            return 0
        if arguments.command == "grant-roles":
            sys.stdout.write(f"{', '.join(await grant_roles(database, arguments.account_id, arguments.roles))}\n")
            return 0
        if arguments.command == "take-roles":
            left = await take_roles(database, arguments.account_id, arguments.roles)
            sys.stdout.write(f"it has {', '.join(left) or 'no role'} now; access tokens act for ten minutes at most\n")
            return 0
        if arguments.command == "set-password":
            password = _read_password()
            rules.check_password(password, arguments.email, common_passwords())
            if not await set_password(database, Hashing(threads=1), arguments.email, password):
                raise Unknown("no account has this address")
            sys.stdout.write("set; its sessions have ended\n")
            return 0
        async with database.transaction() as session:
            if arguments.command == "set-email":
                await accounts.change_email(session, arguments.account_id, arguments.email)
                sys.stdout.write("set; the password is as it was\n")
            elif arguments.command == "rotate-keys":
                sys.stdout.write(f"{(await keys.rotate_keys(session, secret_box)).kid} signs now\n")
            elif arguments.command == "withdraw-key":
                await keys.withdraw_key(session, arguments.kid)
                sys.stdout.write("withdrawn; verifiers look again within five minutes\n")
            else:
                for key in await queries.signing_keys(session):
                    state = "withdrawn" if key.withdrawn_at else key.state
                    sys.stdout.write(f"{key.kid}  {state}  made {key.created_at:%Y-%m-%d %H:%M}Z\n")
    finally:
        await process.http.aclose()
        await database.dispose()
    return 0


def main() -> None:
    """Run the command line of `python -m gateway.staff`."""
    command = run_command(parse_command(), read_settings(Settings))
    sys.exit(asyncio.run(report_errors(command)))


if __name__ == "__main__":
    main()
