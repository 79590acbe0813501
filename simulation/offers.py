"""Invariants of what is on offer: the public reads, and other services sell, what editors have published."""

import json
from typing import Any, Final

from simulation.looking import Look
from simulation.reporting import Broken


async def listings_are_their_rebuild(look: Look) -> None:
    """I6: a course's public page shows its present version, state and subject."""
    rows = await look.ask(
        "catalogue",
        "select c.course_id, c.state, v.version, s.name, l.on_sale, l.page::text as page from courses c "
        "join course_versions v on v.course_version_id = c.current_version_id "
        "join subjects s on s.subject_id = v.subject_id left join listings l on l.course_id = c.course_id",
    )
    for row in rows:
        page = _page(row["page"])
        shown = (row["on_sale"], page.get("state"), page.get("version"), page.get("subject", {}).get("name"))
        wanted = (row["state"] == "published", row["state"], row["version"], row["name"])
        if shown != wanted:
            raise Broken("a course's page is not what it is", (str(row["course_id"]), shown, wanted))


def _page(text: str | None) -> dict[str, Any]:  # Any: JSON
    found = json.loads(text or "{}")
    return json.loads(found) if isinstance(found, str) else found


async def everybody_sells_the_same(look: Look) -> None:
    """I13: the newest version and the withdrawal of a course are known wherever it is sold or taught."""
    courses = await look.ask(
        "catalogue",
        "select c.course_id, c.state, v.version from courses c "
        "join course_versions v on v.course_version_id = c.current_version_id",
    )
    for service in ("payments", "credentials"):
        offered = await look.by(service, "offered_courses", "course_id")
        for course in courses:
            there = offered.get(course["course_id"])
            if there is None:
                raise Broken(f"{service} does not know a course", course)
            if there["version"] != course["version"]:
                raise Broken(f"{service} offers an older version", (there["version"], course["version"]))
            if (there["withdrawn_at"] is not None) != (course["state"] == "withdrawn"):
                raise Broken(f"{service} has not handled a withdrawal", course)


async def prices_are_the_same(look: Look) -> None:
    wanted = {row["price_id"]: row["amount_minor"] for row in await look.rows("catalogue", "prices")}
    for service in ("payments", "credentials"):
        held = {row["price_id"]: row["amount_minor"] for row in await look.rows(service, "prices")}
        if held != wanted:
            raise Broken(f"{service} has other prices", set(wanted) ^ set(held))


ALL: Final = (listings_are_their_rebuild, everybody_sells_the_same, prices_are_the_same)
