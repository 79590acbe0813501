"""The commands of assessment: those of every service, files, and credit that was lost with a database."""

import argparse
import sys
from uuid import UUID

from assessment.app import build
from assessment.commands import lost_credit
from assessment.settings import Settings
from shared.cli import Command, main
from shared.database import Database
from shared.orphans import files_command


def _arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True)
    for name, help_ in (("revoke", "take it away"), ("reinstate", "give it back")):
        action = actions.add_parser(name, help=help_)
        for argument in ("credit_id", "learner_id", "enrolment_id"):
            action.add_argument(argument, type=UUID)
        action.add_argument("--reason", required=True, help="one that the regulations name")
        action.add_argument("--minutes", required=True, help="of the board that decided")
        action.add_argument("--by", required=True, type=UUID, help="the account of who decided for the board")


async def _decide(database: Database, arguments: argparse.Namespace) -> int:
    credit = lost_credit.LostCredit(arguments.credit_id, arguments.learner_id, arguments.enrolment_id)
    async with database.transaction() as session:
        await lost_credit.decide(
            session,
            arguments.by,
            credit,
            arguments.reason,
            arguments.minutes,
            revoke=arguments.action == "revoke",
        )
    sys.stdout.write("decided\n")
    return 0


LOST_CREDIT = Command(
    "lost-credit", "credit that a restored database does not know, and credentials does", _arguments, _decide
)

if __name__ == "__main__":
    main(
        Settings,
        build,
        [LOST_CREDIT, files_command(lambda: build(Settings()).resources)],  # pyright: ignore[reportCallIssue] - read from the environment
    )
