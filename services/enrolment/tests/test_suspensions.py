"""Every suspension ends, and other services learn of it: what holds a learner's credit there is an enrolment that is
suspended here."""

import itertools
from datetime import timedelta

import pytest

from enrolment.commands.enrolments import reinstate_enrolment, withdraw_enrolment
from enrolment.domain import regulations
from enrolment.domain.enrolments import EnrolmentNotOpen
from enrolment.jobs import end_unpaid_enrolments
from shared.events.enrolment import ActivationRefused, EnrolmentCancelled, EnrolmentReinstated, EnrolmentSuspended
from shared.ids import new_id
from shared.testing.rules import endings_of_holds

HOUR = timedelta(hours=1)


class Trouble:
    """An order whose money is in question, and what may become of it."""

    def __init__(self, driver, work, clock, paid) -> None:
        self.driver, self.work, self.clock, self.paid = driver, work, clock, paid
        self.dispute = driver.dispute(paid, clock())

    async def lose(self):
        await self._hear(self.driver.reversal(self.paid, self.clock()))

    async def open_dispute(self):
        await self._hear(self.dispute)

    async def come_again(self):
        await self._hear(self.driver.restoration(self.paid, self.clock()))

    async def be_paid_again(self):
        other = self.driver.restoration(self.paid, self.clock()).model_copy(update={"payment_id": new_id()})
        await self._hear(other)

    async def be_replaced(self):
        """The disputed payment is lost by the provider's word, and another one pays."""
        await self.lose()
        await self.be_paid_again()

    async def reinstate(self):
        await reinstate_enrolment(self.driver.session, await self._id(), by="finance", reason_code="paid_by_invoice")

    async def give_back(self):
        await self._hear(self.driver.refund(self.paid, at=self.clock()))

    async def withdraw(self):
        await withdraw_enrolment(self.driver.session, await self._id())

    async def wait(self):
        self.clock.at += regulations.in_force(self.paid.confirmed_at).repayment
        await end_unpaid_enrolments(self.work)

    def close(self, outcome):
        async def closed():
            await self._hear(self.driver.verdict(self.dispute, outcome, self.clock()))

        return closed

    async def be_taken_by_the_bank(self):
        await self.close("lost")()
        await self.lose()
        await self.wait()

    async def _id(self):
        return (await self.driver.enrolment(self.paid.lines[0].order_line_id)).enrolment_id

    async def _hear(self, event):
        self.clock.at += HOUR
        await self.driver.consume(event)


ENDINGS = {
    "H1": {
        "the money is there again": (Trouble.come_again, "active"),
        "the order is paid again": (Trouble.be_paid_again, "active"),
        "finance reinstates the enrolment": (Trouble.reinstate, "active"),
        "finance gives the course back": (Trouble.give_back, "cancelled"),
        "the learner gives the course up": (Trouble.withdraw, "cancelled"),
        "14 days are over": (Trouble.wait, "cancelled"),
    },
    "H2": {
        "the bank leaves us the money": (lambda trouble: trouble.close("won")(), "active"),
        "the payer no longer asks for it": (lambda trouble: trouble.close("withdrawn")(), "active"),
        "the order is paid by another payment": (Trouble.be_replaced, "active"),
        "finance reinstates the enrolment": (Trouble.reinstate, "active"),
        "the learner gives the course up": (Trouble.withdraw, "cancelled"),
        "the bank takes the money, and H1 has ended": (Trouble.be_taken_by_the_bank, "cancelled"),
    },
}
BEGINNINGS = {"H1": Trouble.lose, "H2": Trouble.open_dispute}


def test_the_endings_are_those_of_the_rules():
    """H1, H2."""
    rules = endings_of_holds()
    assert {hold: list(endings) for hold, endings in ENDINGS.items()} == {hold: rules[hold] for hold in ENDINGS}


async def last_announced(driver, enrolment_id):
    """The kind of the state with the highest sequence that was announced."""
    states = await driver.announced(EnrolmentSuspended, EnrolmentReinstated, EnrolmentCancelled)
    mine = [event for event in states if event.enrolment_id == enrolment_id]
    return type(max(mine, key=lambda event: event.sequence))


@pytest.mark.parametrize(
    ("hold", "ending"), [(hold, ending) for hold, endings in ENDINGS.items() for ending in endings]
)
async def test_each_ending_is_announced(driver, work, clock, hold, ending):
    await driver.register()
    paid = driver.payment(await driver.offer(), at=clock())
    await driver.consume(paid)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    trouble = Trouble(driver, work, clock, paid)
    await BEGINNINGS[hold](trouble)
    assert (enrolment.status, await last_announced(driver, enrolment.enrolment_id)) == (
        "suspended",
        EnrolmentSuspended,
    )
    act, status = ENDINGS[hold][ending]
    await act(trouble)
    await driver.session.refresh(enrolment)
    assert enrolment.status == status
    assert await last_announced(driver, enrolment.enrolment_id) is not EnrolmentSuspended
    await driver.assert_record_stands()


async def test_a_dispute_about_a_payment_that_pays_no_longer_suspends_nothing_whatever_arrives_first(driver, clock):
    await driver.register()
    for order in itertools.permutations(range(4)):
        paid = driver.payment(await driver.offer(), at=clock())
        other = driver.restoration(paid, clock() + 3 * HOUR).model_copy(update={"payment_id": new_id()})
        words = [paid, driver.dispute(paid, clock() + HOUR), driver.reversal(paid, clock() + 2 * HOUR), other]
        await driver.consume(*(words[n] for n in order))
        assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "active"


@pytest.mark.parametrize("over", ["passed", "failed"])
@pytest.mark.parametrize("begin", [Trouble.lose, Trouble.open_dispute])
async def test_a_course_that_is_over_is_not_given_up_though_it_is_suspended(driver, work, clock, over, begin):
    """Else credit that nobody paid for would be free again."""
    await driver.register()
    paid = driver.payment(await driver.offer(), at=clock())
    await driver.consume(paid)
    enrolment = await driver.enrolment(paid.lines[0].order_line_id)
    await driver.consume(driver.credit(enrolment) if over == "passed" else driver.exhausted(enrolment))
    trouble = Trouble(driver, work, clock, paid)
    await begin(trouble)
    assert enrolment.status == "suspended"
    with pytest.raises(EnrolmentNotOpen):
        await trouble.withdraw()
    assert await last_announced(driver, enrolment.enrolment_id) is EnrolmentSuspended


@pytest.mark.parametrize(
    ("story", "goes_back"),
    [
        ([Trouble.lose, Trouble.withdraw], 0),
        ([Trouble.lose, Trouble.withdraw, Trouble.come_again], 1),
        ([Trouble.lose, Trouble.withdraw, Trouble.be_paid_again], 1),
        ([Trouble.withdraw, Trouble.lose, Trouble.come_again], 0),
        ([Trouble.withdraw, Trouble.lose, Trouble.be_paid_again], 1),
        ([Trouble.open_dispute, Trouble.withdraw, Trouble.lose, Trouble.come_again], 0),
        ([Trouble.open_dispute, Trouble.withdraw, Trouble.lose, Trouble.be_paid_again], 1),
        ([Trouble.lose, Trouble.reinstate, Trouble.withdraw, Trouble.come_again], 0),
        ([Trouble.lose, Trouble.withdraw, Trouble.come_again, Trouble.lose, Trouble.be_paid_again], 1),
    ],
)
async def test_money_that_comes_for_a_course_given_up_without_it_goes_back_once(driver, work, clock, story, goes_back):
    """Whoever gave it up before the loss did so without a refund: then that payment stays, and only another goes back."""
    await driver.register()
    paid = driver.payment(await driver.offer(), at=clock())
    await driver.consume(paid)
    trouble = Trouble(driver, work, clock, paid)
    for act in story:
        clock.at += HOUR
        await act(trouble)
    refused = await driver.announced(ActivationRefused)
    assert [one.reason_code for one in refused] == ["enrolment_ended"] * goes_back
    assert (await driver.enrolment(paid.lines[0].order_line_id)).status == "cancelled"
    await driver.assert_record_stands()
