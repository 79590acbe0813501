"""What staff do in a replay: publish the courses, open and close windows, mark, release, ratify."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import httpx

from embedded import people
from embedded.journey import JSON, Person, Refused, eventually
from embedded.replay.journal import Journal
from embedded.replay.mapping import filled, mapping
from embedded.replay.progress import Progress, each

COHORT_SECONDS = 900.0
"""How long events may take to arrive: of a board that ratifies ten thousand results each result is an event."""
WINDOW = timedelta(days=30)
"""Longer than any replay takes; a window ends when its round does."""

ROLES = ("catalogue_editor", "examiner", "board", "marker", "advisor", "finance", "operator")


class OtherPlatform(RuntimeError):
    """The journal is of a replay on another platform."""


@dataclass(frozen=True, slots=True)
class Course:
    """The course, and its version on sale, of one part of a module."""

    course_id: str
    course_version_id: str
    part: str


class Staff:
    """The platform's sample accounts of staff, for one replay, named `run`."""

    def __init__(self, client: httpx.AsyncClient, folder: Path, journal: Journal, run: str) -> None:
        self.journal, self.run = journal, run
        self.institution_id = ""
        accounts = people.known(folder)
        self.by_role = {role: Person(client, seed=f"replay {run} {role}") for role in ROLES}
        for role, person in self.by_role.items():
            person.sign_in_later(accounts[role].email, accounts[role].password)

    @property
    def editor(self) -> Person:
        return self.by_role["catalogue_editor"]

    @property
    def examiner(self) -> Person:
        return self.by_role["examiner"]

    async def found(self) -> None:
        """Create the institution that offers the courses, unless it is there. Raises OtherPlatform."""
        body = mapping().document["institution"]
        await self._create("/v1/institutions", body)
        institution = [one async for one in self.editor.all("/v1/institutions") if one["slug"] == body["slug"]]
        self.institution_id = str(institution[0]["institution_id"])
        here = {"institution_id": self.institution_id}
        if (self.journal.find("platform") or self.journal.note("platform", here)) != here:
            raise OtherPlatform("this journal is of a replay on another platform; give another --run")

    async def publish(self, module: str, presentation: str, version: int) -> list[Course]:
        """Put the version of a presentation on sale, in every part of the module; versions count from 1."""
        names = {"module": module.lower(), "MODULE": module, "presentation": presentation, "run": self.run}
        document = mapping().document
        subject = filled(document["subject"], **names)
        await self._create("/v1/subjects", subject)
        courses: list[Course] = []
        for part in mapping().parts:
            written = filled(document["course"], part=part.lower(), PART=part, **names)
            written |= {"subject": subject["slug"], "institution": document["institution"]["slug"]}
            course_id = await self._course(written)
            version_id = await self._version(course_id, version, written)
            await eventually(
                lambda version_id=version_id: self.examiner.ask("PUT", f"/v1/briefs/{version_id}", document["brief"]),
                patient_with={"not_found"},  # assessment has not consumed the event about the version yet
                seconds=COHORT_SECONDS,
            )
            courses.append(Course(course_id, version_id, part))
        return courses

    async def _create(self, path: str, body: JSON) -> None:
        try:
            await self.editor.ask("POST", path, body)
        except Refused as refused:
            if refused.code != "slug_taken":
                raise

    async def _course(self, written: JSON) -> str:
        try:
            made = await self.editor.ask("POST", "/v1/courses", written | {"price": mapping().document["price"]})
        except Refused as refused:
            if refused.code != "slug_taken":
                raise
            made = refused.problem
        return str(made["course_id"])

    async def _version(self, course_id: str, version: int, written: JSON) -> str:
        path = f"/v1/courses/{course_id}"
        found = {one["version"]: one async for one in self.editor.all(f"{path}/versions")}
        if version in found and found[version]["published_at"]:
            return str(found[version]["course_version_id"])
        if version not in found:
            await self.editor.ask("POST", f"{path}/versions", key=f"version {version}")
            content = {name: value for name, value in written.items() if name not in ("slug", "code")}
            await self.editor.ask("PUT", f"{path}/draft", content)
        published = await self.editor.ask("POST", f"{path}/publication", key=f"version {version}")
        return str(published["course_version_id"])

    async def open_window(self, name: str) -> str:
        """Open the window of this name unless it was opened before. Returns its id."""
        step = f"{name}/window"
        now = datetime.now(UTC)
        body = self.journal.find(f"{step}/request") or self.journal.note(
            f"{step}/request", {"opens_at": now.isoformat(), "closes_at": (now + WINDOW).isoformat()}
        )
        known = self.journal.find(step)
        if known is None:
            made = await self.examiner.ask("POST", "/v1/windows", body, key=name)
            known = self.journal.note(step, {"window_id": made["window_id"]})
        return str(known["window_id"])

    async def close_window(self, window_id: str) -> None:
        await self.examiner.ask("POST", f"/v1/windows/{window_id}/closing")

    async def mark(
        self, window_id: str, marks: Mapping[str, Decimal], progress: Progress, what: str, *, at_once: int
    ) -> None:
        """Mark the work of a closed window. `marks` are by the work's SHA-256, since a marker sees no names.

        Work that is not in `marks` is of other learners, or was withdrawn, and is left unmarked.
        """
        marker = self.by_role["marker"]
        queue = [one async for one in marker.all("/v1/marking-queue", window_id=window_id) if one["sha256"] in marks]

        async def mark(piece: JSON) -> None:
            given = {"mark": str(marks[piece["sha256"]]), "feedback": "As the data set has it."}
            await marker.ask("POST", f"/v1/submissions/{piece['submission_id']}/marks", given)

        await each(progress, what, queue, mark, at_once=at_once)

    async def ratify(self, window_id: str, name: str) -> JSON:
        """Release every result and let the board ratify them. Returns the board."""
        await self.examiner.finish(await self.examiner.ask("POST", f"/v1/windows/{window_id}/release"))
        body, board = {"window_id": window_id, "minutes_reference": f"REPLAY {self.run} {name}"}, self.by_role["board"]
        return await board.finish(await board.ask("POST", "/v1/boards", body))


def sha256(work: bytes) -> str:
    return hashlib.sha256(work).hexdigest()
