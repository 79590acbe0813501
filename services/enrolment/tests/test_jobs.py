"""What happens when time passes."""

from datetime import timedelta

from sqlalchemy import delete, select, text

from enrolment.commands.learners import anonymise_learner
from enrolment.domain import regulations
from enrolment.jobs import end_unpaid_enrolments, settle_waiting_lines
from enrolment.tables import CourseVersion, Enrolment, OrderLine
from shared.events.enrolment import (
    AccessRevoked,
    ActivationRefused,
    EnrolmentActivated,
    EnrolmentCancelled,
)
from shared.ids import new_id
from shared.messaging.tables import SetAside


async def test_a_payer_who_never_registers_gets_the_money_back(driver, work, clock):
    paid = driver.payment(await driver.offer())
    await driver.consume(paid)
    wait = regulations.in_force(clock()).activation_wait

    clock.at += wait - timedelta(seconds=1)
    await settle_waiting_lines(work)
    assert await driver.announced(ActivationRefused) == []

    clock.advance(seconds=1)
    await settle_waiting_lines(work)
    await settle_waiting_lines(work)
    [refused] = await driver.announced(ActivationRefused)
    assert (refused.order_line_id, refused.reason_code) == (paid.lines[0].order_line_id, "not_registered")


async def test_money_that_comes_after_its_learner_was_anonymised_goes_back(driver, work, clock):
    await driver.register()
    await anonymise_learner(driver.session, driver.learner_id, by="registrar")
    paid = driver.payment(await driver.offer())
    await driver.consume(paid)
    clock.at += regulations.in_force(clock()).activation_wait
    await settle_waiting_lines(work)
    assert await driver.announced(EnrolmentActivated) == []
    [refused] = await driver.announced(ActivationRefused)
    assert (refused.order_line_id, refused.reason_code) == (paid.lines[0].order_line_id, "not_registered")


async def test_a_course_nobody_announces_is_refused_in_the_end(driver, work, clock):
    await driver.register()
    unknown = (await driver.offer()).model_copy(update={"course_version_id": new_id()})
    paid = driver.payment(unknown)
    await driver.consume(paid)
    clock.at += regulations.in_force(clock()).activation_wait
    await settle_waiting_lines(work)
    assert [event.reason_code for event in await driver.announced(ActivationRefused)] == ["unknown_course"]


async def test_a_line_refunded_while_it_waited_is_closed_without_a_word(driver, work, clock):
    paid = driver.payment(await driver.offer())
    await driver.consume(paid, driver.refund(paid))
    clock.at += regulations.in_force(clock()).activation_wait
    await settle_waiting_lines(work)
    assert await driver.announced(ActivationRefused) == []
    line = await driver.session.get(OrderLine, paid.lines[0].order_line_id, populate_existing=True)
    assert (line.outcome, line.reason_code) == ("refunded", None)


async def test_a_course_that_slipped_in_beside_its_payment_is_found(driver, work):
    """The handlers of course and payment ran at once and did not see each other."""
    await driver.register()
    offered = await driver.offer()
    await driver.session.execute(delete(CourseVersion))
    paid = driver.payment(offered)
    await driver.consume(paid)
    driver.session.expunge_all()
    driver.session.add(
        CourseVersion(
            **{name: getattr(offered, name) for name in CourseVersion.__table__.columns.keys()}  # noqa: SIM118
        )
    )
    await driver.session.commit()

    await settle_waiting_lines(work)

    assert len(await driver.announced(EnrolmentActivated)) == 1


async def test_money_that_does_not_come_back_in_time_ends_the_enrolment(driver, work, clock):
    await driver.register()
    paid = driver.payment(await driver.offer())
    await driver.consume(paid, driver.reversal(paid, clock()))
    repayment = regulations.in_force(paid.confirmed_at).repayment

    clock.at += repayment - timedelta(seconds=1)
    await end_unpaid_enrolments(work)
    assert await driver.announced(EnrolmentCancelled) == []

    clock.advance(seconds=1)
    await end_unpaid_enrolments(work)
    await end_unpaid_enrolments(work)
    [cancelled] = await driver.announced(EnrolmentCancelled)
    assert (cancelled.reason_code, cancelled.sequence) == ("payment_lost", 3)
    assert len(await driver.announced(AccessRevoked)) == 1
    await driver.assert_record_stands()


async def test_money_that_is_given_back_after_the_end_is_announced_once_and_ends_nothing_again(driver, work, clock):
    """The credit of who passed stands while the money is there again, and is held from when finance gives it back."""
    await driver.register()
    paid = driver.payment(await driver.offer())
    lost = driver.reversal(paid, clock())
    await driver.consume(paid, lost)
    clock.at += regulations.in_force(paid.confirmed_at).repayment
    await end_unpaid_enrolments(work)
    clock.advance(days=1)
    granted = driver.refund(paid).model_copy(update={"decided_by": "ann", "requested_at": clock()})
    await driver.consume(driver.settlement(paid, clock()), granted, granted)
    announced = await driver.announced(EnrolmentCancelled)
    assert [(one.reason_code, one.decided_by, one.sequence) for one in announced] == [
        ("payment_lost", None, 3),
        ("refunded", "ann", 4),
    ]
    assert len(await driver.announced(AccessRevoked)) == 1
    await driver.assert_record_stands()


async def test_a_dispute_takes_as_long_as_it_takes_and_only_a_lost_one_sets_a_limit(driver, work, clock):
    await driver.register()
    paid = driver.payment(await driver.offer())
    dispute = driver.dispute(paid)
    await driver.consume(paid, dispute)
    clock.advance(days=60)
    await end_unpaid_enrolments(work)
    assert await driver.announced(EnrolmentCancelled) == []

    await driver.consume(driver.verdict(dispute, "lost", clock()))
    await end_unpaid_enrolments(work)
    assert await driver.announced(EnrolmentCancelled) == []
    clock.at += regulations.in_force(paid.confirmed_at).repayment
    await end_unpaid_enrolments(work)
    [cancelled] = await driver.announced(EnrolmentCancelled)
    assert cancelled.reason_code == "payment_lost"


async def test_money_that_came_back_in_time_is_left_alone(driver, work, clock):
    await driver.register()
    paid = driver.payment(await driver.offer())
    lost = driver.reversal(paid)
    await driver.consume(paid, lost, driver.settlement(paid, lost.reversed_at + timedelta(days=1)))
    clock.advance(days=60)
    await end_unpaid_enrolments(work)
    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "active"


async def ended_for_want_of_money(driver, work, clock):
    """A paid order whose enrolment ended because the money did not come back."""
    await driver.register()
    paid = driver.payment(await driver.offer())
    await driver.consume(paid, driver.reversal(paid, clock()))
    clock.at += regulations.in_force(paid.confirmed_at).repayment
    await end_unpaid_enrolments(work)
    assert len(await driver.announced(EnrolmentCancelled)) == 1
    clock.advance(seconds=5)
    return paid


async def test_money_that_comes_back_too_late_is_given_back_once(driver, work, clock):
    paid = await ended_for_want_of_money(driver, work, clock)
    restored = driver.restoration(paid, clock())
    await driver.consume(restored, restored, driver.settlement(paid, clock() + timedelta(days=1)))
    [refused] = await driver.announced(ActivationRefused)
    assert (refused.order_line_id, refused.reason_code) == (paid.lines[0].order_line_id, "enrolment_ended")
    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "cancelled"
    await driver.assert_record_stands()


async def test_it_is_kept_where_the_course_was_passed(driver, work, clock):
    await driver.register()
    paid = driver.payment(await driver.offer())
    await driver.consume(paid)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    submission = driver.submission(enrolment)
    await driver.consume(
        submission, driver.credit(enrolment, submission.submission_id, "70"), driver.reversal(paid, clock())
    )
    clock.advance(days=60)
    await end_unpaid_enrolments(work)
    clock.advance(seconds=5)
    await driver.consume(driver.restoration(paid, clock()))
    assert await driver.announced(ActivationRefused) == []


async def test_nor_where_it_goes_back_already(driver, work, clock):
    paid = await ended_for_want_of_money(driver, work, clock)
    await driver.consume(driver.refund(paid, at=clock()), driver.restoration(paid, clock() + timedelta(seconds=1)))
    assert await driver.announced(ActivationRefused) == []


async def test_who_failed_may_begin_anew_though_the_money_of_then_is_gone(driver, work):
    await driver.register()
    offered = await driver.offer()
    paid = driver.payment(offered)
    await driver.consume(paid)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    await driver.consume(driver.exhausted(enrolment), driver.reversal(paid))
    again = driver.payment(offered)
    await driver.consume(again)
    assert (await driver.enrolment(again.lines[0].order_line_id)).status == "active"


async def test_an_enrolment_reinstated_while_the_job_ran_is_left_alone(driver, work, clock, monkeypatch):
    from enrolment.commands import enrolments

    await driver.register()
    paid = driver.payment(await driver.offer())
    lost = driver.reversal(paid)
    await driver.consume(paid, lost)
    clock.advance(days=60)
    end = enrolments.end_unpaid_enrolment

    async def after_it_is_repaid(session, enrolment_id):
        await driver.consume(driver.settlement(paid, lost.reversed_at + timedelta(days=1)))
        await end(session, enrolment_id)

    monkeypatch.setattr(enrolments, "end_unpaid_enrolment", after_it_is_repaid)
    await end_unpaid_enrolments(work)
    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "active"


async def test_registering_and_the_job_do_not_activate_twice(driver, work):
    paid = driver.payment(await driver.offer())
    await driver.consume(paid)
    await driver.register()
    await settle_waiting_lines(work)
    assert len(await driver.announced(EnrolmentActivated)) == 1
    assert isinstance(await driver.enrolment(paid.lines[0].order_line_id), Enrolment)


async def test_a_learner_who_cannot_be_settled_holds_up_nobody(driver, work, clock, monkeypatch):
    from enrolment.commands import enrolments

    bad, good = driver.learner_id, new_id()
    for learner_id in (bad, good):
        driver.learner_id = learner_id
        await driver.consume(driver.payment(await driver.offer()))
    clock.advance(days=60)
    settle = enrolments.settle

    async def but_not_that_one(session, learner_id, **how):
        await settle(session, learner_id, **how)
        if learner_id == bad:
            await session.execute(text("select 1 / 0"))

    monkeypatch.setattr(enrolments, "settle", but_not_that_one)
    await settle_waiting_lines(work)
    assert await driver.session.scalar(select(SetAside.row_key)) == str(bad)
    assert [event.learner_id for event in await driver.announced(ActivationRefused)] == [good]


async def test_an_enrolment_that_cannot_be_ended_holds_up_no_other(driver, work, clock, monkeypatch):
    from enrolment.commands import enrolments

    await driver.register()
    rows = []
    for _ in range(2):
        paid = driver.payment(await driver.offer())
        await driver.consume(paid, driver.reversal(paid))
        rows.append((await driver.enrolment(paid.lines[0].order_line_id)).enrolment_id)
    clock.advance(days=60)
    end = enrolments.end_unpaid_enrolment

    async def but_not_the_first(session, enrolment_id):
        await end(session, enrolment_id)
        if enrolment_id == rows[0]:
            await session.execute(text("select 1 / 0"))

    monkeypatch.setattr(enrolments, "end_unpaid_enrolment", but_not_the_first)
    await end_unpaid_enrolments(work)
    assert await driver.session.scalar(select(SetAside.row_key)) == str(rows[0])
    assert [event.enrolment_id for event in await driver.announced(EnrolmentCancelled)] == [rows[1]]


async def test_an_enrolment_under_regulations_of_a_later_release_is_shown_to_a_person_and_ends_with_that_release(
    driver, work, clock
):
    """As after a release was rolled back: it does not wait unseen for ever, and the others end."""
    await driver.register()
    paid = driver.payment(await driver.offer(), await driver.offer())
    await driver.consume(paid, driver.reversal(paid, clock()))
    of_later, other = [await driver.enrolment(line.order_line_id) for line in paid.lines]
    known, of_later.regulations_version = of_later.regulations_version, "mc-regs-2099.1"
    await driver.session.flush()
    clock.at += regulations.in_force(paid.confirmed_at).repayment
    await end_unpaid_enrolments(work)
    await driver.session.refresh(other)
    await driver.session.refresh(of_later)
    assert (of_later.status, other.status) == ("suspended", "cancelled")
    [aside] = await driver.session.scalars(select(SetAside))
    assert (aside.job, aside.row_key) == ("end_unpaid_enrolments", str(of_later.enrolment_id))
    assert aside.last_error.startswith("UnknownRegulations")

    of_later.regulations_version = known
    await driver.session.flush()
    clock.advance(minutes=5)
    await end_unpaid_enrolments(work)
    await driver.session.refresh(of_later)
    assert of_later.status == "cancelled"
    assert list(await driver.session.scalars(select(SetAside))) == []
