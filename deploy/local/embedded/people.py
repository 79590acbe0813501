"""Sample accounts, one for every role, with passwords made for this installation."""

import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from embedded import installation
from gateway.adapters.hashing import Hashing
from gateway.staff import open_staff_account, set_password
from shared.database import Database

ROLES = {
    "learner": "learner",
    "marker": "marker",
    "examiner": "examiner",
    "board": "examiner",  # who marked, moderated or opened a case sits on no board about it
    "registrar": "registrar",
    "advisor": "advisor",
    "finance": "finance",
    "catalogue_editor": "catalogue_editor",
    "operator": "operator",
}
"""The role of each sample account, by the account's name."""


@dataclass(frozen=True)
class Person:
    role: str
    email: str
    password: str


def address_of(name: str) -> str:
    """The e-mail address of a sample account."""
    return f"{name.replace('_', '-')}@platform.example"


People = dict[str, Person]


def known(folder: Path) -> People:
    """The sample accounts of the platform whose data are in this folder; raises FileNotFoundError, Unusable."""
    return {role: Person(**one) for role, one in installation.read_object(folder / "people.json").items()}


async def open_accounts(gateway: Database, folder: Path) -> People:
    """The sample accounts, with their passwords as they are kept beside the data for their owner alone.

    What the file or the database lacks, or has otherwise than the other, is made good at each start: either may have
    been lost, or their writing broken off.
    """
    try:
        people = known(folder)
    except (FileNotFoundError, installation.Unusable):
        people = {}
    missing = [role for role in ROLES if role not in people]
    for role in missing:
        people[role] = Person(role, address_of(role), secrets.token_urlsafe(12))
    if missing:
        installation.write_whole(folder / "people.json", {role: asdict(one) for role, one in people.items()})
    hashing = Hashing(threads=2)
    for role, one in people.items():
        if not await set_password(gateway, hashing, one.email, one.password):
            await open_staff_account(gateway, one.email, one.password, [ROLES[role]])
    return people
