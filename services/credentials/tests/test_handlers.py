"""Facts arrive in any order, any number of times; what follows from them is the same."""

import itertools
import json
import random
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from credentials.commands import awards, projection
from credentials.queries.documents import latest_transcript
from credentials.queries.records import pending_of
from credentials.tables.facts import Credit
from credentials.tables.issued import Badge, Eligibility
from openbadges.signable import NotSignable
from shared.events.credentials import (
    AwardEligibilityChanged,
    BadgeIssued,
    BadgeRevoked,
    TranscriptIssued,
)
from shared.ids import new_id
from shared.messaging import RetryLater
from shared.testing.services import published

from .announcements import (
    BEFORE,
    DS,
    LAW,
    activated,
    consume,
    course,
    credit,
    failed,
    hold_credit,
    introduce,
    let_time_work,
    named,
    passed,
    registered,
    renamed,
    reversed_payment,
    revoked,
    settled,
    voided,
)
from .holds import case_of, suspension_of
from .reviews import reinstated

DAY = timedelta(days=1)


async def of_kind(session, kind: type) -> list:
    return [event for event in await published(session) if isinstance(event, kind)]


async def test_a_ratified_credit_brings_badge_transcript_and_eligibility(service, session, clock) -> None:
    learner = new_id()
    await introduce(session, learner)
    await hold_credit(session, learner, DS=4)
    await let_time_work(service)
    assert len(await of_kind(session, BadgeIssued)) == 4
    assert [event.version for event in await of_kind(session, TranscriptIssued)] == [1, 2, 3, 4]
    (changed,) = await of_kind(session, AwardEligibilityChanged)
    assert [(level.level, level.titles_added) for level in changed.levels] == [("pgcert", ("PGCert in Data Science",))]


async def test_the_same_fact_again_changes_nothing(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    before = len(await published(session))
    await hold_credit(session, learner, DS=4)
    await consume(session, passed(learner, "DS01"), passed(learner, "DS01"))
    assert len(await published(session)) == before


async def test_any_order_ends_in_the_same_state(service, session, clock) -> None:
    """A course, its credit, the credit's revocation, the pending pass: each order of arrival."""
    states = set()
    for order in itertools.permutations(range(4)):
        learner = new_id()
        code = f"C{learner.hex}"
        facts = [course(code, DS), passed(learner, code), credit(learner, code, DS), revoked(learner, code)]
        await introduce(session, learner)
        await consume(session, *(facts[n] for n in order))
        await let_time_work(service)
        badge = (await session.scalars(select(Badge).where(Badge.learner_id == learner))).one_or_none()
        transcript = await latest_transcript(session, learner)
        eligibility = await session.get(Eligibility, learner)
        states.add(
            (
                badge is None or badge.revoked_at is not None,
                0 if transcript is None else len(transcript.content["credits"]),
                str(eligibility.titles),
            )
        )
    assert states == {(True, 0, "{}")}


def life_of(learner: UUID, prefix: str) -> list:
    """All kinds of facts about one learner: passes, repeats, amendments, revocations, holds, pinned regulations."""
    subjects = [(f"{prefix}DS{n}", DS) for n in range(1, 6)] + [(f"{prefix}MG{n}", "Management") for n in range(1, 4)]
    codes = [code for code, _ in subjects]
    opened, decided = case_of(learner)
    money_gone = reversed_payment(learner)
    back = settled(learner, money_gone.order_id, money_gone.reversed_at + timedelta(hours=1))
    again = credit(
        learner,
        codes[0],
        DS,
        90,
        credit_id=new_id(),
        enrolment_id=new_id(),
        submission_id=new_id(),
        ratified_at=BEFORE + DAY,
    )
    return [
        registered(learner),
        activated(learner, "mc-regs-2026.1", codes[0]),
        *(course(code, subject) for code, subject in subjects),
        *(credit(learner, code, subject, 50 + 3 * n) for n, (code, subject) in enumerate(subjects)),
        again,
        passed(learner, codes[1]),
        *(passed(learner, f"{prefix}{name}") for name in ("AMENDED", "VOIDED", "PENDING")),
        failed(learner, f"{prefix}AMENDED"),
        voided(learner, f"{prefix}VOIDED"),
        revoked(learner, codes[2]),
        revoked(learner, codes[3]),
        reinstated(learner, codes[3]),
        money_gone,
        back,
        *suspension_of(learner),
        opened,
        decided,
    ]


async def state_of(service, session, learner: UUID, prefix: str) -> dict:
    """What the learner has come to hold, without the ids."""
    async with service.client("learner", id=learner) as own:
        credits_, options, badges, transcript = [
            (await own.get(f"/v1/{path}")).json() for path in ("credits", "award-options", "badges", "transcript")
        ]
    eligibility = await session.get(Eligibility, learner)
    titles = {
        level["level"]: [(one["title"], one["regulations"], one["mean"], len(one["left"])) for one in level["options"]]
        for level in options["levels"]
    }
    listed = [(one["course_code"], one["status"], one["mark"]) for one in credits_["items"]]
    entries = [(one["course_code"], one["mark"]) for one in transcript["document"]["credits"]]
    valid = [one["name"] for one in badges["items"] if one["status"] == "valid"]
    state = {
        "credits": sorted(listed, key=str),
        "options": titles,
        "on_hold": options["on_hold"],
        "announced": eligibility.titles,
        "badges": sorted(valid),
        "transcript": sorted(entries),
    }
    return json.loads(json.dumps(state).replace(prefix, ""))


async def test_a_whole_life_in_any_order_and_delivered_twice_ends_in_the_same_state(service, session, clock) -> None:
    chance = random.Random(20261128)  # noqa: S311 - the same shuffles each time
    states = []
    for n in range(6):
        learner, prefix = new_id(), f"L{n:02}"
        facts = life_of(learner, prefix)
        if n:
            facts += chance.sample(facts, 8)
            chance.shuffle(facts)
        await consume(session, *facts)
        await let_time_work(service)
        states.append(await state_of(service, session, learner, prefix))
    first, *others = states
    assert (len(first["credits"]), len(first["badges"]), first["on_hold"]) == (10, 8, False)
    assert {title for title, *_ in first["options"]["pgcert"]} >= {
        "PGCert in Data Science",
        "PGCert in Data Science and Management",
    }
    assert [other for other in others if other != first] == []


async def test_a_badge_waits_for_the_course_it_recognises(service, session, clock) -> None:
    learner = new_id()
    await consume(session, registered(learner), credit(learner, "LATE01", DS))
    await let_time_work(service)
    assert await of_kind(session, BadgeIssued) == []
    await consume(session, course("LATE01", DS))
    await let_time_work(service)
    (issued,) = await of_kind(session, BadgeIssued)
    assert issued.course_id == named("course", "LATE01")


async def test_a_badge_waits_for_its_holder_to_be_known(service, session, clock) -> None:
    learner = new_id()
    await consume(session, course("LATE02", DS), credit(learner, "LATE02", DS))
    await let_time_work(service)
    assert await of_kind(session, BadgeIssued) == []
    await consume(session, registered(learner))
    await let_time_work(service)
    (issued,) = await of_kind(session, BadgeIssued)
    assert issued.learner_id == learner


async def test_a_revoked_credit_revokes_its_badge_and_puts_the_award_under_review(service, session, clock) -> None:
    """A11: nothing is rescinded before a person decides."""
    learner = new_id()
    await hold_credit(session, learner, DS=4)
    await let_time_work(service)
    award = await awards.claim_award(session, learner, "pgcert", "PGCert in Data Science", None)
    await awards.confer_award(session, award.award_id, by=new_id())
    await consume(session, revoked(learner, "DS04"))
    (event,) = await of_kind(session, BadgeRevoked)
    assert event.credit_id == named("credit", learner, "DS04")
    assert award.state == "conferred"
    assert award.under_review_since == clock()


async def test_a_pass_amended_to_a_fail_is_no_longer_pending(service, session, clock) -> None:
    for order in ((passed, failed), (failed, passed)):
        learner = new_id()
        await consume(session, *(event_of(learner, "DS01") for event_of in order))
        assert await pending_of(session, learner) == []


async def test_a_voided_submission_leaves_nothing_pending(service, session, clock) -> None:
    for order in ((passed, voided), (voided, passed)):
        learner = new_id()
        await consume(session, *(event_of(learner, "DS01") for event_of in order))
        assert await pending_of(session, learner) == []


async def test_pinned_regulations_stay_open_to_the_learner(service, session, clock) -> None:
    learner = new_id()
    await consume(session, activated(learner, "mc-regs-2026.1"))
    await hold_credit(session, learner, DS=5, MG=3)
    eligibility = await session.get(Eligibility, learner)
    assert eligibility.titles["pgdip"] == [
        "PGDip in Data Science with Management",
        "PGDip in Interdisciplinary Studies",
    ]


async def test_regulations_not_known_to_this_release_wait(service, session, clock) -> None:
    with pytest.raises(RetryLater):
        await consume(session, activated(new_id(), "mc-regs-2099.1"))


async def test_a_renamed_subject_changes_the_titles_and_not_the_ledger(service, session, clock) -> None:
    learner = new_id()
    await hold_credit(session, learner, LAW=3)
    await consume(session, renamed(LAW, "Law & Society"))
    await consume(
        session, course("LAW04", "Law & Society"), credit(learner, "LAW04", LAW, subject_name="Law & Society")
    )
    eligibility = await session.get(Eligibility, learner)
    assert eligibility.titles["pgcert"] == ["PGCert in Law & Society"]
    row = await session.get(Credit, named("credit", learner, "LAW01"))
    assert row.subject_name == "Law"


async def test_whoever_holds_credit_of_a_renamed_subject_is_announced_the_new_titles(service, session, clock) -> None:
    ada, bob = new_id(), new_id()
    await hold_credit(session, ada, LAW=4)
    await hold_credit(session, bob, MG=4)
    await consume(session, renamed(LAW, "Law & Society", clock()))
    assert await projection.differing(session, service.process.database.transaction, [ada, bob]) == [ada]
    clock.advance(minutes=1)
    await let_time_work(service)
    assert await projection.differing(session, service.process.database.transaction, [ada, bob]) == []
    eligibility = await session.get(Eligibility, ada, populate_existing=True)
    assert eligibility.titles["pgcert"] == ["PGCert in Law & Society"]
    [last] = [one for one in await of_kind(session, AwardEligibilityChanged) if one.learner_id == ada][-1:]
    [pgcert] = [one for one in last.levels if one.level == "pgcert"]
    assert (pgcert.titles_added, pgcert.titles_removed) == (("PGCert in Law & Society",), ("PGCert in Law",))
    changes = [one for one in await of_kind(session, AwardEligibilityChanged) if one.learner_id == bob]
    assert len(changes) == 1, "nothing of what bob holds was renamed"


async def test_a_course_that_cannot_be_signed_is_refused(service, session, clock) -> None:
    with pytest.raises(NotSignable):
        await consume(session, course("BELL01", DS, title="Bell \x07"))


@pytest.mark.parametrize("statement", ["update credits set credits = 30", "delete from revocations"])
async def test_the_database_keeps_the_ledger_from_changing(service, session, clock, statement) -> None:
    learner = new_id()
    await hold_credit(session, learner, DS=1)
    await consume(session, revoked(learner, "DS01"))
    with pytest.raises(DBAPIError, match="append-only"):
        await session.execute(text(statement))
