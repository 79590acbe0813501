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
from gateway.adapters.vault import Vault
from gateway.app import build, common_passwords
from gateway.commands import accounts, keys
from gateway.domain import accounts as rules
from gateway.settings import Settings
from shared.database import Database
from shared.errors import Refusal
from shared.service import Process


async def open_staff_account(database: Database, email: str, password: str, roles: Iterable[str]) -> UUID:
    """An account with these roles, opened or, where the address has one, given them besides its own.

    :raises Refusal: the password or a role is none
    """
    key = rules.email_key(email)
    wanted = rules.check_roles(roles)
    async with database.transaction() as session:
        account = await queries.account_by_email(session, key)
        if account is None:
            rules.check_password(password, email, common_passwords())
            hashed = await Hashing(threads=1).make(password)
            account = await accounts.open_account(session, email, hashed, roles=wanted, granted_by=_operator())
        else:
            present = await queries.roles_of(session, account.account_id)
            await accounts.set_roles(session, account.account_id, wanted | set(present), granted_by=_operator())
        return account.account_id


async def set_password(database: Database, hashing: Hashing, email: str, password: str) -> bool:
    """Give the account of this address this password, where it has another; False where there is no such account."""
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
    return True


def _operator() -> str:
    return f"command line ({os.environ.get('USER', 'unknown')})"


def parse_command(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked at the command line."""
    parser = argparse.ArgumentParser(prog="python -m gateway.staff", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    opening = commands.add_parser("open-account", help="open an account with roles, or add roles to the one there is")
    opening.add_argument("email")
    opening.add_argument("--role", action="append", required=True, choices=rules.ROLES, dest="roles")
    commands.add_parser("list-keys", help="the signing keys and their states")
    commands.add_parser("rotate-keys", help="let the next signing key sign")
    withdrawing = commands.add_parser("withdraw-key", help="refuse what a key signed, e.g. because it leaked")
    withdrawing.add_argument("kid")
    return parser.parse_args(arguments)


async def run_command(arguments: argparse.Namespace, settings: Settings) -> None:
    """Do it.

    :raises Refusal: a rule says no
    """
    process = Process(build(settings))
    database, vault = process.database, Vault(settings.wrapping_key.get_secret_value())
    try:
        if arguments.command == "open-account":
            password = getpass.getpass("Password: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
            account_id = await open_staff_account(database, arguments.email, password, arguments.roles)
            sys.stdout.write(f"{account_id}\n")
            return
        async with database.transaction() as session:
            if arguments.command == "rotate-keys":
                sys.stdout.write(f"{(await keys.rotate_keys(session, vault)).kid} signs now\n")
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


def main() -> None:
    """The command line."""
    arguments = parse_command()
    try:
        asyncio.run(run_command(arguments, Settings()))  # pyright: ignore[reportCallIssue] - read from the environment
    except Refusal as refusal:
        sys.exit(f"{refusal.code}: {refusal.detail}")


if __name__ == "__main__":
    main()
