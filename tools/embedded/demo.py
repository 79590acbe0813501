"""One learner's whole way, printed step by step: find, register, pay, study, submit, pass, badge, PGCert."""

from embedded.interrupts import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c("The demo was stopped; the next one begins anew.")  # while the rest is read, too

import argparse
import asyncio
import hashlib
import json
import secrets
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import httpx

from embedded import people, ports
from embedded.installation import Unusable, here, read_object, where_it_runs
from embedded.journey import JSON, Learner, Name, Person, Refused, connected, is_here, pay_at_the_sandbox, until
from embedded.platform import LOADED
from embedded.services import SECRETS, nowhere
from shared.events import registry
from shared.money import money_text

NAME = Name("Ada", "Lovelace")
MAJOR, MINOR = "data-science", "management"
LEVEL = "pgcert"
MARKS = ("72", "68", "74", "61")


class Narrator:
    """Prints the numbered steps, and which events each of them has caused."""

    def __init__(self, folder: Path, feeds: dict[str, str]) -> None:
        self.folder, self.feeds = folder, feeds
        self.number = 0
        self.cursors: dict[str, str] = {}
        self.travelled: list[str] = []
        self.emails: set[Path] = set()

    def step(self, title: str) -> None:
        self.number += 1
        print(f"\n{self.number}. {title}", flush=True)

    def narrate(self, text: str) -> None:
        print(f"   {text}", flush=True)

    async def events(self, learner_id: str = "", *expected: str) -> None:
        """Wait for these events about the learner, and print every one published since the last call."""
        seen: list[str] = []

        async def arrived() -> bool | None:
            seen.extend(e["type"] for e in await self._new_events() if learner_id in (e["partitionkey"], e["subject"]))
            return True if set(expected) <= set(seen) or not self.feeds else None

        await until(arrived, f"{', '.join(expected)} travelled")
        self.travelled += seen
        for type_, count in Counter(seen).items():
            self.narrate(f"  → event {type_}" + (f" ({count} times)" if count > 1 else ""))

    async def _new_events(self) -> list[JSON]:
        found: list[JSON] = []
        if not self.feeds:
            return found
        secret = read_object(self.folder / "secrets.json").get(SECRETS[0])
        async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
            for source, url in self.feeds.items():
                while True:
                    answer = await client.get(
                        f"{url}/internal/events",
                        params=[*(("types", t) for t in _types_of(source)), ("after", self.cursors.get(source, "0.0"))],
                        headers={"Authorization": f"Bearer {secret}"},
                    )
                    answer.raise_for_status()
                    page = answer.json()
                    found += [json.loads(body) for body in page["bodies"]]
                    self.cursors[source] = page["cursor"]
                    if not page["bodies"]:
                        break
        return found


def _types_of(source: str) -> list[str]:
    return [name for name in registry() if name.startswith(f"{source}.")]


@dataclass
class Cast:
    """Who takes part in the demonstration."""

    learner: Learner
    email: str
    staff: dict[str, Person]
    learner_id: str = ""


async def narrate(base_url: str, folder: Path, feeds: dict[str, str]) -> JSON:
    """Walk through the demonstration. Returns the conferred award; raises Refused, TimeoutError or AssertionError."""
    narrator = Narrator(folder, feeds)
    async with connected(base_url) as client:
        await narrator.events()  # those published before do not belong to the demonstration
        cast = await cast_of(client, folder)
        courses = await _find(narrator, cast)
        await register(narrator, cast)
        enrolments = await buy(narrator, cast, courses)
        await _study(narrator, cast, enrolments)
        window = await hand_in(narrator, cast, enrolments)
        await mark(narrator, cast, enrolments, window, MARKS)
        await _hold_badges(narrator, cast, len(enrolments))
        award = await _claim(narrator, cast)
        await _look_back(narrator, cast, award)
    print(f"\n{NAME.given} {NAME.family} holds a {award['title']}.", flush=True)
    return award


class StillLoading(RuntimeError):
    """The platform answers already, but not all of its sample courses are there."""


async def cast_of(client: httpx.AsyncClient, folder: Path) -> Cast:
    """Return a new learner and the platform's staff; raises StillLoading, and FileNotFoundError without a platform."""
    known = people.known(folder)
    if not await asyncio.to_thread((folder / LOADED).exists):
        raise StillLoading("the catalogue is still being loaded; wait until the platform says that it is up")
    staff = {role: Person(client) for role in ("examiner", "board", "marker", "registrar")}
    for role, person in staff.items():
        await person.sign_in(known[role].email, known[role].password)
    return Cast(Learner(client), f"ada-{secrets.token_hex(4)}@learner.example", staff)


async def _find(narrator: Narrator, cast: Cast) -> list[JSON]:
    narrator.step("Find courses")
    found = await cast.learner.ask("GET", "/v1/courses", q="learning from data", limit=3)
    narrator.narrate(f"{found['total']} courses match “learning from data”; the best: {found['items'][0]['title']}")
    chosen: list[JSON] = []
    for subject, count in ((MAJOR, 3), (MINOR, 1)):
        chosen += (await cast.learner.ask("GET", "/v1/courses", subject=subject, limit=count))["items"]
    for course in chosen:
        narrator.narrate(
            f"{course['code']}  {course['title']}  ({course['subject']['name']}, {money(course['price'])})"
        )
    return chosen


async def register(narrator: Narrator, cast: Cast) -> None:
    narrator.step("Open an account and register with the short form")
    account = await cast.learner.open_account(cast.email, secrets.token_urlsafe(12))
    cast.learner_id = str(account["account_id"])
    registered = await cast.learner.register(NAME, cast.email)
    narrator.narrate(
        f"account {cast.learner_id}, registered as {registered['display_name']}; both criteria self-certified"
    )
    await narrator.events(cast.learner_id, "gateway.account.opened.v1", "enrolment.learner.registered.v1")
    sent = await email_to(narrator, cast, "Confirm your address")
    await cast.learner.confirm_address(sent.partition("address: ")[2].split()[0])
    narrator.narrate(f"{cast.email} confirmed with the code that was sent there")
    await narrator.events(cast.learner_id, "enrolment.learner.contact-changed.v1")


async def buy(narrator: Narrator, cast: Cast, courses: list[JSON]) -> list[JSON]:
    """Buy the courses in one order and pay it at the sandbox. Returns the enrolments."""
    narrator.step(f"Buy {len(courses)} courses in one order")
    wanted = [course["course_id"] for course in courses]
    order = await cast.learner.order(wanted, purpose=" ".join(wanted))
    narrator.narrate(
        f"order {order['order_id']}: {len(order['lines'])} courses, {money(order['total'])}, {order['status']}"
    )
    checkout = await cast.learner.check_out(order, NAME, cast.email)
    narrator.narrate(f"pay page {checkout['pay_url']}")
    await pay_at_the_sandbox(cast.learner.client, checkout["pay_url"])
    enrolments = await cast.learner.enrolments_of(order["order_id"])
    narrator.narrate(f"paid; {len(enrolments)} enrolments are {enrolments[0]['status']}")
    receipt = await cast.learner.ask("GET", f"/v1/orders/{order['order_id']}/receipt")
    narrator.narrate(f"receipt {receipt['receipt_number']} for {money(receipt['total'])}")
    await email_to(narrator, cast, "Your payment is confirmed")
    await narrator.events(
        cast.learner_id,
        "payments.payment.confirmed.v1",
        "enrolment.enrolment.activated.v1",
        "enrolment.access.granted.v1",
    )
    return enrolments


async def _study(narrator: Narrator, cast: Cast, enrolments: list[JSON]) -> None:
    narrator.step("Study")
    for enrolment in enrolments:
        units = await cast.learner.study(enrolment["enrolment_id"])
        after = await cast.learner.ask("GET", f"/v1/enrolments/{enrolment['enrolment_id']}")
        narrator.narrate(
            f"{after['course']['code']}: {len(units)} units read, {after['progress']['percent']} % finished"
        )


async def hand_in(narrator: Narrator, cast: Cast, enrolments: list[JSON]) -> JSON:
    narrator.step("Hand in one project for each course while a window is open")
    now = datetime.now(UTC)
    body = {"opens_at": now.isoformat(), "closes_at": (now + timedelta(hours=1)).isoformat()}
    window = await cast.staff["examiner"].ask("POST", "/v1/windows", body)
    narrator.narrate(f"an examiner opened a window until {window['closes_at']}")
    for enrolment in enrolments:
        work = f"# Project in {enrolment['course']['title']}\n\nBy {NAME.given} {NAME.family}.\n".encode()
        receipt = await cast.learner.submit(enrolment["enrolment_id"], window["window_id"], work)
        narrator.narrate(f"{enrolment['course']['code']}: receipt {receipt['submission_id']}, SHA-256 {short(receipt)}")
    await narrator.events(cast.learner_id, "assessment.submission.received.v1")
    return window


async def mark(narrator: Narrator, cast: Cast, enrolments: list[JSON], window: JSON, given: Sequence[str]) -> None:
    """Close the window, mark, release and ratify; `given` are the marks in the order of the courses' codes."""
    narrator.step("Marking, release and the board")
    examiner, marker, window_id = cast.staff["examiner"], cast.staff["marker"], window["window_id"]
    await examiner.ask("POST", f"/v1/windows/{window_id}/closing")
    marks = dict(zip(sorted(one["course"]["code"] for one in enrolments), given, strict=True))
    async for piece in marker.all("/v1/marking-queue", window_id=window_id):
        judgement = {"mark": marks[piece["course_code"]], "feedback": "A clear, well-argued project."}
        await marker.ask("POST", f"/v1/submissions/{piece['submission_id']}/marks", judgement)
        narrator.narrate(f"{piece['course_code']}: {judgement['mark']} (the marker sees no name)")
    released = await examiner.finish(await examiner.ask("POST", f"/v1/windows/{window_id}/release"))
    narrator.narrate(f"released, provisional: {released['passed']} passed, {released['failed']} failed")
    await narrator.events(cast.learner_id, "assessment.assessment.passed.v1")
    minutes = {"window_id": window_id, "minutes_reference": f"DEMO-{secrets.token_hex(3)}"}
    member = cast.staff["board"]
    board = await member.finish(await member.ask("POST", "/v1/boards", minutes))
    narrator.narrate(f"ratified by the board: {board['ratified']} results, {board['credits_awarded']} credits awarded")
    await narrator.events(cast.learner_id, "assessment.credit.awarded.v1", "credentials.badge.issued.v1")


async def _hold_badges(narrator: Narrator, cast: Cast, count: int) -> None:
    narrator.step("Badges anyone can check")
    for badge in await until(lambda: badges(cast.learner, count), f"{count} signed badges"):
        await verify(narrator, cast, badge)


async def _claim(narrator: Narrator, cast: Cast) -> JSON:
    narrator.step("Claim a PGCert")
    options = await cast.learner.ask("GET", "/v1/award-options")
    offered = next(level for level in options["levels"] if level["level"] == LEVEL)["options"]
    for option in offered:
        narrator.narrate(f"{option['title']}  ({option['rule']}; mean {option['mean']}: {option['classification']})")
    body = {"level": LEVEL, "title": offered[0]["title"]}
    award = await cast.learner.ask("POST", "/v1/award-claims", body)
    narrator.narrate(f"claimed; its {award['credits']} credits are reserved until {award['reserved_until']}")
    await narrator.events(cast.learner_id, "credentials.award.claimed.v1")
    award = await cast.staff["registrar"].ask("POST", f"/v1/award-claims/{award['award_id']}/conferral")
    narrator.narrate(
        f"conferred: {award['title']}, {award['classification']}, certificate {award['certificate_number']}"
    )
    await narrator.events(cast.learner_id, "credentials.award.conferred.v1")
    parchment = await until(lambda: badge_of(cast.learner, award["award_id"]), "the award's badge")
    await verify(narrator, cast, parchment)
    return {**award, "verification_url": parchment["verification_url"]}


async def _look_back(narrator: Narrator, cast: Cast, award: JSON) -> None:
    narrator.step("The transcript and the learner's own study record")
    transcript = await cast.learner.ask("GET", "/v1/transcript")
    content = json.dumps(transcript["document"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    narrator.narrate(
        f"transcript version {transcript['version']}, as at {transcript['as_at']}, SHA-256 {short(transcript)}"
    )
    assert hashlib.sha256(content.encode()).hexdigest() == transcript["sha256"], "the transcript is not what was hashed"
    record = await until(lambda: _record(cast.learner, award["award_id"]), "the study record shows the award")
    held = f"{record['credits_total']} credits, {len(record['badges'])} badges, {len(record['awards'])} award"
    narrator.narrate(f"study record: {held}")
    narrator.narrate(
        f"{len(narrator.travelled)} events about {NAME.given} travelled, of {len(set(narrator.travelled))} kinds"
    )


def money(amount: JSON) -> str:
    return money_text(amount["amount_minor"], amount["currency"])


def short(hashed: JSON) -> str:
    return f"{hashed['sha256'][:16]}…"


async def email_to(narrator: Narrator, cast: Cast, subject: str) -> str:
    """Wait for an e-mail to the learner with this subject that was not shown yet. Returns its text."""

    def find() -> tuple[Path, str] | None:
        for path in (narrator.folder / "mail").glob(f"*{cast.email}*.eml"):
            email = message_from_bytes(path.read_bytes(), policy=default)
            if email["Subject"] == subject and path not in narrator.emails:
                return path, email.get_content()
        return None

    path, said = await until(lambda: asyncio.to_thread(find), f"the e-mail “{subject}” to {cast.email}")
    narrator.emails.add(path)
    narrator.narrate(f"e-mail “{subject}”: {path}")
    return said


async def badges(learner: Learner, count: int) -> list[JSON] | None:
    badges = [badge for badge in (await learner.ask("GET", "/v1/badges"))["items"] if badge["credential_url"]]
    return badges if len(badges) >= count else None


async def badge_of(learner: Learner, award_id: str) -> JSON | None:
    badges = (await learner.ask("GET", "/v1/badges"))["items"]
    return next((badge for badge in badges if badge["award_id"] == award_id and badge["credential_url"]), None)


async def _record(learner: Learner, award_id: str) -> JSON | None:
    record = await learner.ask("GET", "/v1/study-record")
    held = [award for award in record["awards"] if award["award_id"] == award_id and award.get("certificate_number")]
    return record if held else None


async def verify(narrator: Narrator, cast: Cast, badge: JSON, expected: str = "valid") -> None:
    """Fetch the credential as anybody may, and have the platform verify it."""
    credential = (await cast.learner.client.get(badge["credential_url"])).raise_for_status().json()
    verdict: JSON = await cast.learner.ask("POST", "/v1/verifications", credential, keyed=False)
    assert verdict["status"] == expected, verdict
    assert is_made_out_to(credential, cast.email), "the badge does not name the address that was confirmed"
    passed = ", ".join(str(check["name"]) for check in verdict["checks"] if check["outcome"] == "passed")
    narrator.narrate(f"{badge['name']}: {verdict['status']} ({passed})")
    narrator.narrate(f"  {badge['verification_url']}")


def is_made_out_to(badge: JSON, email: str) -> bool:
    """Whether a badge has the salted hash of this address, which anybody can check who knows it."""
    (identity,) = badge["credentialSubject"]["identifier"]
    hashed = hashlib.sha256((email.lower() + identity["salt"]).encode()).hexdigest()
    return identity["identityHash"] == f"sha256${hashed}"


Tale = Callable[[str, Path, dict[str, str]], Awaitable[object]]


async def _run(tale: Tale, base_url: str, folder: Path, feeds: dict[str, str]) -> None:
    await tale(base_url, folder, feeds)


def main(tale: Tale = narrate, about: str | None = __doc__) -> int:
    """Run a demonstration on the platform that is running. Returns the exit status: 1 where it breaks off."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--base-url", help="the platform, unless it is the one that runs on the folder")
    parser.add_argument("--data", type=Path, default=here(), help="the platform's folder, for the staff accounts")
    arguments = parser.parse_args()
    try:
        base_url = arguments.base_url or where_it_runs(arguments.data)
        if base_url is None:
            raise Unusable(f"no platform runs on {arguments.data}")  # noqa: TRY301 - printed as the others are
        base = httpx.URL(base_url)
        feeds = nowhere(ports.assign({ports.VARIABLE: str(base.port or 80)})).feeds if is_here(base) else {}
        asyncio.run(_run(tale, base_url, arguments.data, feeds))
    except (Refused, StillLoading, Unusable, TimeoutError, FileNotFoundError, httpx.HTTPError) as failure:
        sys.stderr.write(
            f"\nThe demo stopped: {failure or repr(failure)}\n(Is the platform up? `make run` starts it.)\n"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
