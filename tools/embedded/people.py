"""Sample accounts, one for every role, with passwords made for this installation."""

import secrets
from dataclasses import asdict, astuple, dataclass
from pathlib import Path

from embedded import installation
from gateway.adapters.hashing import Hashing
from gateway.staff import open_staff_account, set_password
from shared.database import Database

ROLES = {
    "learner": "learner",
    "marker": "marker",
    "examiner": "examiner",
    "board": "examiner",  # a second examiner: the board is neither who moderated nor the panel of a case
    "registrar": "registrar",
    "advisor": "advisor",
    "finance": "finance",
    "catalogue_editor": "catalogue_editor",
    "operator": "operator",
    "second_operator": "operator",  # a role is proposed by one operator and confirmed by another
}
"""The role of each sample account, by the account's name."""


@dataclass(frozen=True)
class Person:
    role: str
    email: str
    password: str


def address_of(name: str) -> str:
    """Return the e-mail address of a sample account."""
    return f"{name.replace('_', '-')}@platform.example"


People = dict[str, Person]


def known(folder: Path) -> People:
    """Read the sample accounts of the platform whose data are in this folder; raises FileNotFoundError, Unusable."""
    path = folder / "people.json"
    try:
        people = {role: Person(**one) for role, one in installation.read_object(path).items()}
    except TypeError as error:
        raise installation.Unusable(f"{path} is damaged ({error})") from error
    if unfit := [role for role, one in people.items() if not all(isinstance(value, str) for value in astuple(one))]:
        raise installation.Unusable(f"{path} is damaged ({unfit[0]} is stated otherwise than in text)")
    return people


async def open_accounts(gateway: Database, folder: Path) -> People:
    """Open the sample accounts. Returns them with their passwords, which are stored beside the data for their owner.

    At each start the database is brought into agreement with the file, and the file completed: either may have been
    lost, or their writing broken off.
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
        if role not in ROLES:  # of another release
            continue
        if not await set_password(gateway, hashing, one.email, one.password):
            await open_staff_account(gateway, one.email, one.password, [ROLES[role]])
    return people
