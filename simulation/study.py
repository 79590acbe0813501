"""Invariants of study: access follows from payments, credit from passes, badges from credit, awards from credit."""

import json
from collections import Counter
from typing import Any, Final

from simulation.looking import Look, Row
from simulation.reporting import Broken

NEEDED: Final = {"pgcert": 60, "pgdip": 120, "masters": 180}
LIVE: Final = frozenset({"claimed", "conferred", "superseded"})


async def access_follows_from_money(look: Look) -> None:
    """Who has paid has the enrolment open that was paid for; who never paid or has the money back, has not."""
    refunds = {row["order_line_id"] for row in await look.rows("payments", "refunds") if row["status"] != "cancelled"}
    orders = await look.by("payments", "orders", "order_id")
    erased = await look.erased()
    reinstated = {row["subject"] for row in await look.ask("enrolment", _REINSTATED)}
    for enrolment in await look.rows("enrolment", "enrolments"):
        order, status = orders[enrolment["order_id"]], enrolment["status"]
        if enrolment["order_line_id"] in refunds and status in {"active", "suspended", "failed"}:
            raise Broken("an enrolment whose money goes back is open", enrolment)
        if order["status"] == "reversed" and status == "active" and enrolment["enrolment_id"] not in reinstated:
            raise Broken("an enrolment whose money is gone is open", enrolment)
        paid = order["status"] == "paid" and enrolment["order_line_id"] not in refunds
        if paid and status == "suspended" and enrolment["learner_id"] not in erased:
            raise Broken("an enrolment that is paid for is suspended at rest", enrolment)


_REINSTATED: Final = "select distinct subject from facts where type = 'reinstatement'"


async def credit_waits_only_for_what_is_open(look: Look) -> None:
    """Whoever is on hold has a suspended enrolment or an open case; credit that is held is of an enrolment that
    ended."""
    enrolments = await look.by("enrolment", "enrolments", "enrolment_id")
    open_ = {str(row["learner_id"]) for row in enrolments.values() if row["status"] == "suspended"}
    open_ |= {str(row["learner_id"]) for row in await look.ask("assessment", _ACCUSED)}
    erased = {str(id_) for id_ in await look.erased()}
    for learner in look.platform.learners:
        if learner.id in erased:
            continue
        options = await learner.ask("GET", "/v1/award-options")
        if options.ok and options.body["on_hold"] != (learner.id in open_):
            raise Broken("a learner is on hold though nothing is open, or the reverse", learner.name)
    credits_ = await look.by("credentials", "credits", "credit_id")
    for hold in await look.rows("credentials", "credit_holds"):
        enrolment = enrolments[credits_[hold["credit_id"]]["enrolment_id"]]
        if hold["released_at"] is None and enrolment["status"] != "cancelled":
            raise Broken("credit is held though its enrolment stands", (hold, enrolment))


_ACCUSED: Final = """
    select enrolments.learner_id from misconduct_cases
    join attempts on attempts.attempt_id = misconduct_cases.attempt_id
    join enrolments on enrolments.enrolment_id = attempts.enrolment_id
    where misconduct_cases.outcome is null
"""


async def everybody_has_the_same_enrolments(look: Look) -> None:
    """I13: what assessment keeps of an enrolment is its last state."""
    enrolments = await look.by("enrolment", "enrolments", "enrolment_id")
    there = await look.by("assessment", "enrolment_states", "enrolment_id")
    known = await look.by("assessment", "enrolments", "enrolment_id")
    for id_, enrolment in enrolments.items():
        if id_ not in known:
            raise Broken("assessment does not know an enrolment", enrolment)
        state = there.get(id_, {"status": "active", "sequence": None})
        wanted = {"active": "active", "suspended": "suspended", "cancelled": "cancelled"}.get(enrolment["status"])
        if wanted is not None and state["status"] != wanted:
            raise Broken("assessment has another status of an enrolment", (enrolment, state))


async def credit_is_given_once_for_each_pass(look: Look) -> None:
    """I2, I3: each ratified pass has one credit in assessment, and credentials has the same credits."""
    attempts = await look.by("assessment", "attempts", "attempt_id")
    credits_ = await look.rows("assessment", "credits")
    held = {row["attempt_id"]: row for row in credits_}
    standing = Counter((row["learner_id"], row["module_family"]) for row in credits_ if row["revoked_at"] is None)
    if twice := [key for key, count in standing.items() if count > 1]:
        raise Broken("two credits stand in one module", twice)
    for id_, attempt in attempts.items():
        if attempt["ratified_at"] and attempt["passed"] and not attempt["voided_at"] and id_ not in held:
            raise Broken("a ratified pass has no credit", attempt)
    for row in credits_:
        attempt = attempts[row["attempt_id"]]
        if not (attempt["ratified_at"] and attempt["passed"]) and row["revoked_at"] is None:
            raise Broken("a credit stands on no ratified pass", row)
    there = await look.by("credentials", "credits", "credit_id")
    gone = await _revoked(look)
    for row in credits_:
        if row["credit_id"] not in there:
            raise Broken("credentials does not know a credit", row)
        if (row["revoked_at"] is not None) != (row["credit_id"] in gone):
            raise Broken("a credit is revoked in one service only", row)
        if row["mark"] != there[row["credit_id"]]["mark"]:
            raise Broken("a credit's mark differs", (row, there[row["credit_id"]]))


async def _revoked(look: Look) -> set[Any]:  # Any: UUID
    back = await look.groups("credentials", "reinstatements", "credit_id")
    return {
        row["credit_id"]
        for row in await look.rows("credentials", "revocations")
        if not any(one["reinstated_at"] >= row["revoked_at"] for one in back[row["credit_id"]])
    }


async def attempts_are_within_the_rules(look: Look) -> None:
    """I4: at most three that count, none after a pass."""
    by_enrolment = await look.groups("assessment", "attempts", "enrolment_id")
    for attempts in by_enrolment.values():
        counted = sorted((one for one in attempts if not one["voided_at"]), key=lambda one: one["attempt_no"])
        if len(counted) > 3:
            raise Broken("more than three attempts", counted)
        numbers = [one["attempt_no"] for one in counted]
        if len(set(numbers)) != len(numbers):
            raise Broken("two attempts have one number", counted)


async def the_file_that_came_last_stands(look: Look) -> None:
    """Of the files handed in for an attempt the one whose last byte came last is the current one."""
    for files in (await look.groups("assessment", "submissions", "attempt_id")).values():
        stand = [one for one in files if one["state"] == "current"]
        replaced = [one for one in files if one["state"] == "superseded"]
        for one in stand:
            came = one["received_again_at"] or one["received_at"]
            if later := [other for other in replaced if other["received_at"] > came]:
                raise Broken("a file stands though another came after it", (one, later))


async def a_badge_is_a_credit(look: Look) -> None:
    """I3: every credit that is not revoked has one valid badge, and a revoked one has none; likewise awards."""
    gone, erased = await _revoked(look), await look.erased()
    badges = await look.groups("credentials", "badges", "credit_id")
    for id_, credit in (await look.by("credentials", "credits", "credit_id")).items():
        if credit["source"] != "internal":
            continue
        valid = [one for one in badges[id_] if one["revoked_at"] is None]
        if id_ in gone and valid:
            raise Broken("a revoked credit has a badge", (credit, valid))
        if id_ not in gone and len(valid) != 1:
            raise Broken("a credit has no badge, or two", (credit, len(badges[id_])))
        if id_ not in gone and valid[0]["document"] is None and credit["learner_id"] not in erased:
            raise Broken("a badge is not signed at rest", valid[0])
    of_awards = await look.groups("credentials", "badges", "award_id")
    for award in await look.rows("credentials", "awards"):
        valid = [one for one in of_awards[award["award_id"]] if one["revoked_at"] is None]
        if award["state"] in {"conferred", "superseded"} and len(valid) != 1:
            raise Broken("a conferred award has no badge, or two", award)
        if award["state"] not in {"conferred", "superseded"} and valid:
            raise Broken("an award that was not conferred has a badge", award)


async def every_signed_badge_says_what_is_so(look: Look) -> None:
    """The newest text of a badge states its own credit's course, or its own award's title and reason; it names no other
    learner."""
    credits_ = await look.by("credentials", "credits", "credit_id")
    awards = await look.by("credentials", "awards", "award_id")
    erased = await look.erased()
    names = _names(await look.rows("enrolment", "names"))
    for badge in await look.rows("credentials", "badges"):
        if badge["document"] is None:
            continue
        text = _text(badge["document"])
        if badge["learner_id"] in erased and "identityHash" in text:
            raise Broken("the badge of an erased learner keeps the hash of their address", badge["badge_id"])
        if badge["revoked_at"] is not None:
            continue
        if badge["credit_id"] is not None and (title := credits_[badge["credit_id"]]["course_title"]) not in text:
            raise Broken("a badge names another course than its credit", (title, text[:300]))
        if badge["award_id"] is not None:
            for said in (awards[badge["award_id"]]["title"], awards[badge["award_id"]]["reason"]):
                if json.dumps(said, ensure_ascii=False)[1:-1] not in text:
                    raise Broken("the badge of an award states another title or reason", (said, text[:300]))
        for learner, name in names.items():
            if name in text and learner != badge["learner_id"]:
                raise Broken("a badge names another learner", (badge["badge_id"], name))


def _names(rows: list[Row]) -> dict[Any, str]:  # Any: UUID
    last: dict[Any, Row] = {}
    for row in rows:
        if row["learner_id"] not in last or row["version"] > last[row["learner_id"]]["version"]:
            last[row["learner_id"]] = row
    return {id_: row["family_name"] for id_, row in last.items() if row["family_name"]}


def _text(document: object) -> str:
    return document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)


async def a_revocation_is_published(look: Look) -> None:
    """The published status lists say of every badge whether it is revoked."""
    lists = await look.by("credentials", "status_lists", "number")
    outdated = [number for number, row in lists.items() if row["document"] is None and row["revoked"]]
    if outdated:
        raise Broken("a list with revocations was never published", outdated)
    for badge in await look.rows("credentials", "badges"):
        row = lists.get(badge["list_number"])
        if badge["revoked_at"] is not None and row is not None and row["signed_at"] < badge["revoked_at"]:
            raise Broken("a revocation is not published at rest", badge["badge_id"])


async def awards_stand_on_credit_of_their_own(look: Look) -> None:
    """No two live awards share credit at a level; each has as much as its level needs, and none that is revoked."""
    gone = await _revoked(look)
    awards = await look.by("credentials", "awards", "award_id")
    live = [row for row in await look.rows("credentials", "allocations") if row["live"] and row["award_id"]]
    credits_ = await look.by("credentials", "credits", "credit_id")
    uses = Counter((row["credit_id"], row["level"]) for row in live)
    if shared := [key for key, count in uses.items() if count > 1]:
        raise Broken("two awards share credit at a level", shared)
    at_top: dict[Any, list[Any]] = {}  # Any: UUID
    for row in live:
        award = awards[row["award_id"]]
        if award["state"] not in LIVE:
            raise Broken("an award that is over holds credit", award)
        if award["state"] == "conferred" and award["under_review_since"] is None and row["credit_id"] in gone:
            raise Broken("a conferred award stands on revoked credit", award)
        if award["state"] == "conferred":
            at_top.setdefault(row["credit_id"], []).append(award["award_id"])
    if doubled := {credit: ids for credit, ids in at_top.items() if len(ids) > 1}:
        raise Broken("two conferred awards stand on one credit", doubled)
    for award in awards.values():
        if award["state"] in {"claimed", "conferred"}:
            has = sum(credits_[row["credit_id"]]["credits"] for row in live if row["award_id"] == award["award_id"])
            if has < NEEDED.get(award["level"], 0):
                raise Broken("an award has less credit than it needs", (award, has))


async def no_review_is_open(look: Look) -> None:
    if open_ := [row for row in await look.rows("credentials", "award_reviews") if row["decided_at"] is None]:
        raise Broken("an award's review is open though it was decided on", open_)


async def projections_are_their_rebuild(look: Look) -> None:
    """I6: the services' own comparisons of projections with their rebuild find no difference."""
    operator = look.platform.staff["operator"]
    for path in ("/v1/credits/comparison", "/v1/study-record-comparison"):
        answer = await operator.ask("GET", path)
        if not answer.ok:
            raise Broken(f"{path} answers {answer.status}", answer.body)
        if differing := {name: value for name, value in answer.body.items() if "differ" in name and value}:
            raise Broken(f"{path} finds a difference", differing)


ALL: Final = (
    access_follows_from_money,
    credit_waits_only_for_what_is_open,
    everybody_has_the_same_enrolments,
    credit_is_given_once_for_each_pass,
    attempts_are_within_the_rules,
    the_file_that_came_last_stands,
    a_badge_is_a_credit,
    every_signed_badge_says_what_is_so,
    a_revocation_is_published,
    awards_stand_on_credit_of_their_own,
    no_review_is_open,
    projections_are_their_rebuild,
)
