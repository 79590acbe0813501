"""From credit to awards and through a revocation: two options, a claim, a higher award, misconduct, a review."""

from embedded.interrupts import end_at_ctrl_c

if __name__ == "__main__":
    end_at_ctrl_c("The demo was stopped; the next one begins anew.")  # while the rest is read, too

import secrets
import sys
from collections import Counter
from pathlib import Path

from embedded.demo import (
    NAME,
    Cast,
    Narrator,
    badge_of,
    badges,
    buy,
    cast_of,
    hand_in,
    main,
    mark,
    money,
    register,
    verify,
)
from embedded.journey import JSON, connected, until

MAJOR, MINOR = "data-science", "management"
FIRST_MARKS = ("68", "72", "70", "66", "61")
SECOND_MARKS = ("64", "58", "67", "63")
REASON = "plagiarism"


async def narrate(base_url: str, folder: Path, feeds: dict[str, str]) -> JSON:
    """Walk through the demonstration. Returns the diploma as it is at the end; raises where it breaks off."""
    narrator = Narrator(folder, feeds)
    async with connected(base_url) as client:
        await narrator.events()
        cast = await cast_of(client, folder)
        await register(narrator, cast)
        await _look_ahead(narrator, cast)
        await _earn(narrator, cast, {MAJOR: (0, 4), MINOR: (0, 1)}, FIRST_MARKS)
        certificate = await _claim(narrator, cast, "pgcert", "Two ways to count the same 75 credits")
        await _ask_why_not(narrator, cast)
        await _earn(narrator, cast, {MINOR: (1, 5)}, SECOND_MARKS)
        diploma = await _claim(narrator, cast, "pgdip", "A higher award takes up the credit of the lower one")
        await _see_superseded(narrator, cast, certificate)
        lost = await _misconduct(narrator, cast, diploma)
        diploma = await _review(narrator, cast, diploma, lost)
    print(f"\n{NAME.given} {NAME.family} still holds a {diploma['title']}.", flush=True)
    return diploma


async def _look_ahead(narrator: Narrator, cast: Cast) -> None:
    narrator.step("What would it take? Asked before anything is bought")
    names = {one["slug"]: one["name"] async for one in cast.learner.all("/v1/subjects")}
    title = f"PGCert in {names[MAJOR]} with {names[MINOR]}"
    ways = await cast.learner.ask("GET", "/v1/award-forecasts/plans", level="pgcert", title=title)
    (way,) = ways["items"]
    for how in ("cheapest", "quickest"):
        plan = way[how]
        codes = ", ".join(course["code"] for course in plan["to_buy"])
        narrator.narrate(f"{how} way to a {title}: {codes}; {money(plan['price'])}")
        narrator.narrate(f"  {plan['weeks_in_turn']} weeks one after another, {plan['weeks_at_once']} all at once")


async def _earn(narrator: Narrator, cast: Cast, wanted: dict[str, tuple[int, int]], marks: tuple[str, ...]) -> None:
    """Buy courses, hand in work, have it marked and ratified, and wait for the badges."""
    courses: list[JSON] = []
    for subject, (first, last) in wanted.items():
        found = [course async for course in cast.learner.all("/v1/courses", subject=subject)]
        courses += sorted(found, key=lambda course: course["code"])[first:last]
    enrolments = await buy(narrator, cast, courses)
    window = await hand_in(narrator, cast, enrolments)
    await mark(narrator, cast, enrolments, window, marks)
    held = len((await cast.learner.ask("GET", "/v1/credits"))["items"])
    await until(lambda: badges(cast.learner, held), f"{held} signed badges")


async def _claim(narrator: Narrator, cast: Cast, level: str, heading: str) -> JSON:
    narrator.step(heading)
    options = await cast.learner.ask("GET", "/v1/award-options")
    offered = next(one for one in options["levels"] if one["level"] == level)["options"]
    for option in offered:
        uses = f"{len(option['counted'])} courses, {len(option['left'])} left"
        narrator.narrate(f"{option['title']}: {option['reason']} ({uses}; {option['classification']})")
    body = {"level": level, "title": offered[0]["title"]}
    claimed = await cast.learner.ask("POST", "/v1/award-claims", body)
    narrator.narrate(f"claimed {claimed['title']}; reserved until {claimed['reserved_until']}")
    award = await cast.staff["registrar"].ask("POST", f"/v1/award-claims/{claimed['award_id']}/conferral")
    narrator.narrate(
        f"the registrar conferred it: certificate {award['certificate_number']}, {award['classification']}"
    )
    await narrator.events(cast.learner_id, "credentials.award.claimed.v1", "credentials.award.conferred.v1")
    await verify(narrator, cast, await until(lambda: badge_of(cast.learner, award["award_id"]), "the award's badge"))
    return award


async def _ask_why_not(narrator: Narrator, cast: Cast) -> None:
    narrator.step("Why no PGDip yet?")
    forecast = await cast.learner.ask("GET", "/v1/award-options/outlook", level="pgdip", most=3)
    (level,) = forecast["levels"]
    narrator.narrate(level["words"])
    for near in level["nearest"]:
        price = near["plan"]["price"]
        cost = money(price) if price else "not all on sale now"
        narrator.narrate(f"{near['words']} ({cost})")
    picture = await cast.learner.ask("GET", "/v1/award-options/picture")
    path = narrator.folder / "stack.svg"
    path.write_text(picture, encoding="utf-8")
    narrator.narrate(f"the progress chart: {path}")


async def _see_superseded(narrator: Narrator, cast: Cast, certificate: JSON) -> None:
    narrator.step("The lower award still verifies, as superseded")
    lower = await cast.learner.ask("GET", f"/v1/awards/{certificate['award_id']}")
    assert lower["state"] == "superseded", lower
    badge = await badge_of(cast.learner, certificate["award_id"])
    assert badge is not None
    await verify(narrator, cast, badge, "superseded")


async def _misconduct(narrator: Narrator, cast: Cast, diploma: JSON) -> JSON:
    narrator.step("Misconduct is found in one of the projects the diploma stands on")
    member = cast.staff["board"]  # who ratified the result may accuse, and does not sit on the panel
    credit = await _of_the_minor(cast, diploma)
    badge = next(
        one for one in (await cast.learner.ask("GET", "/v1/badges"))["items"] if one["credit_id"] == credit["credit_id"]
    )
    record = await cast.learner.ask("GET", "/v1/study-record")
    submission = next(
        one["submission_id"]
        for study in record["enrolments"]
        if study["enrolment_id"] == credit["enrolment_id"]
        for one in study["submissions"]
    )
    body = {"submission_id": submission, "reason_code": REASON}
    case = await member.ask("POST", "/v1/misconduct-cases", body)
    narrator.narrate(f"case {case['case_id']} opened: {REASON} in {credit['course_code']} {credit['course_title']}")
    minutes = {"outcome": "credit_revoked", "minutes_reference": f"PANEL-{secrets.token_hex(3)}"}
    decided = await cast.staff["examiner"].ask("POST", f"/v1/misconduct-cases/{case['case_id']}/decision", minutes)
    narrator.narrate(f"the panel decided: {decided['outcome']} ({decided['minutes_reference']})")
    await narrator.events(
        cast.learner_id,
        "assessment.credit.revoked.v1",
        "credentials.badge.revoked.v1",
        "credentials.award.review-opened.v1",
    )
    await until(lambda: _is_revoked(cast, badge), "the badge is published as revoked")
    await verify(narrator, cast, badge, "revoked")
    return credit


async def _review(narrator: Narrator, cast: Cast, diploma: JSON, lost: JSON) -> JSON:
    narrator.step("The diploma is reviewed: nothing is rescinded by itself")
    registrar = cast.staff["registrar"]
    reviews = [one async for one in registrar.all("/v1/award-reviews", waiting="true")]
    review = next(one for one in reviews if one["award_id"] == diploma["award_id"])
    proposal = review["proposal"]
    assert proposal["lost"] == [lost["credit_id"]], proposal
    narrator.narrate(f"{review['title']} is {review['state']} meanwhile; proposed: {proposal['decision']}")
    narrator.narrate(proposal["words"])
    decision = {"decision": proposal["decision"], "reason_code": "misconduct"}
    decided = await registrar.ask("POST", f"/v1/award-reviews/{review['review_id']}/decision", decision)
    added = len(decided["outcome"]["added"])
    narrator.narrate(f"decided: {decided['decision']}, for {decided['reason_code']}; credit added: {added}")
    await narrator.events(cast.learner_id, "credentials.award.review-closed.v1")
    after: JSON = await cast.learner.ask("GET", f"/v1/awards/{diploma['award_id']}")
    assert (after["state"], after["certificate_number"]) == ("conferred", diploma["certificate_number"]), after
    assert lost["credit_id"] not in after["credit_ids"], after
    narrator.narrate(
        f"{after['title']}, certificate {after['certificate_number']}, {after['classification']}: it stands"
    )
    badge = await badge_of(cast.learner, diploma["award_id"])
    assert badge is not None
    await verify(narrator, cast, badge)
    return after


async def _of_the_minor(cast: Cast, diploma: JSON) -> JSON:
    """Return a credit counted for the diploma, in the subject in which the learner has one course to spare."""
    held = (await cast.learner.ask("GET", "/v1/credits"))["items"]
    counted = [one for one in held if one["credit_id"] in diploma["credit_ids"]]
    subjects = Counter(one["subject"] for one in held)
    return next(one for one in counted if subjects[one["subject"]] == max(subjects.values()))


async def _is_revoked(cast: Cast, badge: JSON) -> bool | None:
    credential = (await cast.learner.client.get(badge["credential_url"])).raise_for_status().json()
    verdict = await cast.learner.ask("POST", "/v1/verifications", credential, keyed=False)
    return True if verdict["status"] == "revoked" else None


if __name__ == "__main__":
    sys.exit(main(narrate, __doc__))
