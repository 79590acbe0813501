"""What every platform begins with: staff with their roles, a small catalogue, a few learners."""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text

from gateway.commands import accounts
from gateway.domain.accounts import email_key
from simulation.people import NAMES, PASSWORD, Answer, Person
from simulation.rest import settle

if TYPE_CHECKING:
    from simulation.simulated_platform import SimulatedPlatform

STAFF: Final = {
    "marker": ("marker",),
    "moderator": ("examiner",),
    "examiner": ("examiner",),
    "board": ("examiner",),
    "panel": ("examiner",),
    "registrar": ("registrar",),
    "finance": ("finance",),
    "editor": ("catalogue_editor",),
    "operator": ("operator",),
}
LEARNERS: Final = ("ada", "ben", "cleo")
SUBJECTS: Final = {"data-science": 5, "management": 4}
_CODE: Final = re.compile(r"address: (\S+)")
CONTENT: Final = Path(__file__).parents[1] / "tools" / "content"


def must(answer: Answer, what: str) -> Any:  # Any: JSON
    if not answer.ok:
        message = f"{what}: {answer.status} {answer.body}"
        raise RuntimeError(message)
    return answer.body


async def fill(platform: "SimulatedPlatform") -> None:
    """Make everything a platform begins with, in order and undisturbed."""
    database = platform.replicas["gateway"][0].process.database
    for name, roles in STAFF.items():
        async with database.transaction() as session:
            await accounts.open_account(session, email_of(name), f"plain {PASSWORD}", roles=roles, granted_by="base")
    await _load_catalogue(platform)
    await settle(platform)
    await _write_briefs(platform)
    for name in LEARNERS:
        await register(Person(platform, name))
    await settle(platform)
    for name in LEARNERS:
        if not await confirm(Person(platform, name)):
            message = f"{name}'s address is not confirmed"
            raise RuntimeError(message)
    platform.time.advance(timedelta(seconds=30))
    await settle(platform)


def email_of(name: str) -> str:
    return email_key(f"{name}@people.example")


async def register(person: Person) -> bool:
    """Open an account and register with the short form. Returns whether answers confirmed both."""
    opened = await person.ask(
        "POST", "/v1/accounts", {"email": person.email, "password": PASSWORD}, key="account", anonymous=True
    )
    if not (opened.ok or opened.code == "email_taken" or opened.status == 0):
        return False
    declared = await person.ask("GET", "/v1/declarations/current")
    if not declared.ok:
        return False
    given, family = NAMES[person.name]
    form = {
        "given_name": given,
        "family_name": family,
        "country": "GB",
        "contact_email": person.email,
        "declaration": {
            "version": declared.body["version"],
            "answers": {one["criterion"]: True for one in declared.body["criteria"]},
        },
    }
    registered = await person.ask("POST", "/v1/learners", form, key="registration")
    return registered.ok or registered.code == "already_registered"


async def confirm(person: Person) -> bool:
    """Confirm one's address with the code of the last e-mail that has one. Returns whether the answer confirmed it."""
    for email in reversed(person.platform.post.emails):
        code = _CODE.search(email["text"])
        if email["to"] == person.email and code:
            return (await person.ask("PUT", "/v1/learners/me/contact-email", {"code": code[1]})).ok
    return False


async def _load_catalogue(platform: "SimulatedPlatform") -> None:
    editor = Person(platform, "editor")
    institution = json.loads((CONTENT / "institutions.json").read_text())[0]
    must(await editor.ask("POST", "/v1/institutions", institution), "an institution")
    for subject in json.loads((CONTENT / "subjects.json").read_text()):
        if subject["slug"] in SUBJECTS:
            must(await editor.ask("POST", "/v1/subjects", subject), "a subject")
    wanted = dict(SUBJECTS)
    for file in sorted((CONTENT / "courses").glob("*.json")):
        course = json.loads(file.read_text())
        if not wanted.get(course["subject"]):
            continue
        wanted[course["subject"]] -= 1
        course.pop("brief")
        course["institution"] = institution["slug"]
        course["units"] = course["units"][:2]
        course.pop("prerequisites", None)
        made = must(await editor.ask("POST", "/v1/courses", course), "a course")
        must(await editor.ask("POST", f"/v1/courses/{made['course_id']}/publication"), "its publication")


async def _write_briefs(platform: "SimulatedPlatform") -> None:
    examiner = Person(platform, "examiner")
    brief = json.loads(next(iter(sorted((CONTENT / "courses").glob("*.json")))).read_text())["brief"]
    for course in await courses_of(platform):
        must(await examiner.ask("PUT", f"/v1/briefs/{course['course_version_id']}", brief), "a brief")


async def courses_of(platform: "SimulatedPlatform") -> list[dict[str, Any]]:  # Any: database values
    """Return the published courses, from the catalogue's own database."""
    async with platform.replicas["catalogue"][0].process.database.transaction() as session:
        rows = await session.execute(
            text(
                "select c.course_id::text, v.course_version_id::text, s.slug as subject "
                "from courses c join course_versions v using (course_id) join subjects s using (subject_id) "
                "where v.published_at is not null order by c.slug"
            )
        )
        return [dict(row._mapping) for row in rows]
