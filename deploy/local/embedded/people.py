"""Sample accounts, one for every role, with passwords made for this installation."""

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from gateway.staff import open_staff_account
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


People = dict[str, Person]


def known(folder: Path) -> People:
    """The sample accounts of the platform whose data are in this folder; raises FileNotFoundError."""
    return {role: Person(**one) for role, one in json.loads((folder / "people.json").read_text()).items()}


async def open_accounts(gateway: Database, folder: Path) -> People:
    """Open what is missing of the sample accounts; their passwords are kept beside the data, for their owner alone."""
    path = folder / "people.json"
    people = known(folder) if path.exists() else {}
    missing = [role for role in ROLES if role not in people]
    for role in missing:
        people[role] = Person(role, f"{role.replace('_', '-')}@platform.example", secrets.token_urlsafe(12))
    if missing:
        path.touch(mode=0o600)
        path.write_text(json.dumps({role: asdict(one) for role, one in people.items()}, indent=2))
    for role in missing:
        await open_staff_account(gateway, people[role].email, people[role].password, [ROLES[role]])
    return people
