"""Faults that payments had, each brought back by the smallest change: the random lives must see every one of them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import false, select

from payments import jobs
from payments.adapters import flywire
from payments.commands import disputes, losses, refund_facts, refunds, settlement, underpayment, unmatched
from payments.domain import ledger
from payments.domain.ledger import Account
from payments.domain.orders import OrderStatus, OwnOrder
from payments.domain.payments import ProviderStatus, State
from payments.domain.refunds import RefundStatus
from payments.jobs import asking, refunding
from payments.queries.orders import bought_courses
from payments.queries.payments import disputed_payments, is_disputed, unreturned
from payments.tables import Dispute, Order, Refund
from shared import due_rows
from shared.access import refuse_own
from shared.database import fetch
from shared.due_rows import for_each_in_transaction
from shared.testing.replacing import Faithful

from .decisions import Decided
from .faults_of_decisions import (
    a_refund_is_sent_beside_one_by_hand,
    what_finance_explains_is_closed_alone,
    what_was_granted_while_lost_is_asked_for_again,
    what_was_paid_by_hand_is_shown_to_nobody,
)
from .faults_of_words import (
    a_payment_without_our_reference_is_not_ours,
    a_refund_without_our_reference_is_not_there,
    a_word_about_another_payments_refund_is_believed,
    a_word_dated_in_the_future_is_believed,
    an_answer_that_cannot_be_read_is_a_refusal,
    an_unknown_word_is_a_refused_payment,
    an_unknown_word_is_a_refused_refund,
    an_unknown_word_takes_back_a_refund_that_was_paid,
)
from .life import Life
from .replacing import everywhere
from .two_orders import TwoOrders


class Whichever(int):
    """A revision that is never overtaken."""

    def __eq__(self, other: object) -> bool:
        return True

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__


def a_refunds_answer_is_not_compared(patch):
    apply = refunding.apply_refund_fact

    async def apply_unseen(session, provider, fact, *, asked_at_revision=None, **more):
        revision = None if asked_at_revision is None else Whichever(asked_at_revision)
        return await apply(session, provider, fact, asked_at_revision=revision, **more)

    patch.setattr(refunding, "apply_refund_fact", apply_unseen)


def a_refunds_lagging_answer_is_believed(patch):
    judge = refund_facts.judge

    def believe(last, fact, *, fetched, patience):
        return judge(last, fact, fetched=fetched, patience=timedelta(days=-9))

    patch.setattr(refund_facts, "judge", believe)


def a_refunds_stale_answer_is_believed(patch):
    a_refunds_answer_is_not_compared(patch)
    a_refusal_is_not_compared(patch)
    a_refunds_lagging_answer_is_believed(patch)


def a_payments_lagging_answer_is_believed(patch):
    judge = settlement.judge

    def believe(last, fact, *, fetched, patience):
        return judge(last, fact, fetched=fetched, patience=timedelta(days=-9))

    patch.setattr(settlement, "judge", believe)


def a_payments_stale_answer_is_believed(patch):
    a_payments_lagging_answer_is_believed(patch)
    apply = asking.apply_payment_fact

    async def apply_unseen(session, provider, fact, public_urls, *, asked_at_revision=None, **more):
        revision = Whichever(asked_at_revision or 0)
        return await apply(session, provider, fact, public_urls, asked_at_revision=revision, **more)

    patch.setattr(asking, "apply_payment_fact", apply_unseen)


def a_refusal_is_not_compared(patch):
    """Also the first word of a refund, and its being put back."""
    claim = refunding._claim

    async def claim_unseen(work, refund_id):
        claimed = await claim(work, refund_id)
        return claimed and refunding._LeasedRefund(claimed.refund, claimed.payment, Whichever(claimed.revision))

    patch.setattr(refunding, "_claim", claim_unseen)


def a_refund_that_comes_back_is_sent_beside(patch):
    """What came back is failed, may be sent again, and nobody looks at what the provider has made."""
    status_of, look = refund_facts.status_of, flywire.Flywire.refunds_of

    def failed(statuses, before, *, taken_up_again, **more):
        status = status_of(statuses, before, taken_up_again=taken_up_again, **more)
        return RefundStatus.FAILED if status is RefundStatus.RETURNED and not taken_up_again else status

    async def blind(self, reference):
        await look(self, reference)
        return []

    async def retry(session, order_id, refund_id, by, **__):
        order = await fetch(session, Order, order_id)
        refuse_own(session, OwnOrder(""), order.learner_id, by)
        refund = await fetch(session, Refund, refund_id, lock=True)
        if refund.status == RefundStatus.FAILED:
            refund.status, refund.ask_at = RefundStatus.REQUESTED, None
            refund.revision += 1
        return refund

    patch.setattr(refund_facts, "status_of", failed)
    patch.setattr(flywire.Flywire, "refunds_of", blind)
    patch.setattr(refunds, "retry_refund", retry)


def _by_status(patch):
    """Too little is found by the order's status alone."""

    async def return_underpaid(work):
        due = select(Order.order_id).where(Order.status == OrderStatus.UNDERPAID)
        await for_each_in_transaction(work, "return_underpaid", due, underpayment.give_up_underpaid)

    patch.setattr(jobs, "return_underpaid", return_underpaid)


def too_little_is_kept_when_another_part_is_lost(patch):
    _by_status(patch)

    async def lose_status(session, order):
        if order.status == OrderStatus.UNDERPAID:
            order.status = OrderStatus.PLACED

    patch.setattr(losses, "reconsider", lose_status)


def too_little_is_kept_when_it_comes_back(patch):
    _by_status(patch)
    reconsider = losses.reconsider

    async def but_not_up(session, order):
        before = order.status
        await reconsider(session, order)
        if (before, order.status) == (OrderStatus.PLACED, OrderStatus.UNDERPAID):
            order.status = before

    patch.setattr(losses, "reconsider", but_not_up)


def too_little_is_kept_when_it_comes_back_to_an_order_that_was_left(patch):
    _by_status(patch)

    async def nothing(session, order):
        pass

    patch.setattr(losses, "return_underpaid", nothing)


def too_little_is_kept(patch):
    everywhere(patch, unreturned, false)


def a_refund_paid_after_the_loss_is_an_asset(patch):
    def books(of):
        known = dict(ledger_books(of))
        if not of.received:
            known[Account.REFUNDS] = known.get(Account.REFUNDS, 0) + known.pop(Account.LOSSES, 0)
        return known

    ledger_books = ledger.books
    patch.setattr(ledger, "books", books)


def a_line_of_lost_money_is_owed(patch):
    request = refunds._request

    async def owe(session, payment, amount_minor, order, **more):
        refund = await request(session, payment, amount_minor, order, **more)
        if refund is not None and refund.status == RefundStatus.CANCELLED:
            refund.status = RefundStatus.REQUESTED
            await refunds.announce_request(session, refund, payment)
        return refund

    patch.setattr(refunds, "_request", owe)


def lost_money_on_its_way_is_owed(patch):
    state_of = settlement.state_of

    def begin_anew(status, method, before, policy):
        lost = before is State.LOST and status is ProviderStatus.INITIATED
        return State.AWAITING_FUNDS if lost else state_of(status, method, before, policy)

    patch.setattr(settlement, "state_of", begin_anew)


def a_sum_that_changes_is_taken_over(patch):
    note = settlement._note

    async def overwrite(session, payment, fact, *more, **named):
        payment.amount_minor, payment.currency = fact.amount_minor, fact.currency
        await note(session, payment, fact, *more, **named)

    patch.setattr(settlement, "_note", overwrite)


def what_the_bank_took_is_restored(patch):
    async def never(session, payment_id):
        return False

    patch.setattr(settlement, "is_lost_to_the_bank", never)


def what_the_bank_gives_back_is_owed_to_nobody(patch):
    async def nothing(session, payment, order):
        pass

    patch.setattr(disputes, "take_back_from_the_bank", nothing)


def a_callback_puts_off_what_is_to_be_asked(patch):
    plan = settlement._plan_question

    def put_off(session, payment, order, policy, *, fetched):
        plan(session, payment, order, policy, fetched=True)

    patch.setattr(settlement, "_plan_question", put_off)


def a_second_payment_in_a_session_is_never_looked_for(patch):
    follow = settlement._follow

    async def forget(session, before, payment, order, attempt, **more):
        await follow(session, before, payment, order, attempt, **more)
        attempt.ask_at = None

    patch.setattr(settlement, "_follow", forget)


def payers_queue_behind_the_poller(patch):
    patch.setattr(flywire, "URGENT", frozenset())
    patch.setattr(flywire, "KEPT_FOR_PEOPLE", 10**6)


def a_round_without_progress_goes_on(patch):
    """Refunds of a disputed payment are chosen, and then refused, for as long as that takes."""

    async def refused(session, payment_id):
        return bool(await session.scalar(select(actual.where(Dispute.payment_id == payment_id).exists())))

    async def take(self):
        if self._job == "submit_refunds":
            self._work.now()
            self._seen, self._again = set(), set()
        return await take_fresh(self)

    take_fresh = due_rows._Round._take
    actual = select(Dispute.payment_id).where(Dispute.closed_at.is_(None))
    everywhere(patch, is_disputed, refused)
    everywhere(patch, disputed_payments, lambda: select(Dispute.payment_id).where(false()))
    patch.setattr(due_rows._Round, "_take", take)


def one_odd_row_stops_the_job(patch):
    async def handle(self, handle, argument, key):
        await handle(argument)

    patch.setattr(due_rows._Round, "_try", handle)


def a_loss_stays_shown_when_it_is_none(patch):
    show = unmatched.show_loss

    async def show_more(session, payment, loss_minor):
        if loss_minor > 0:
            await show(session, payment, loss_minor)

    patch.setattr(unmatched, "show_loss", show_more)
    patch.setattr(ledger, "paid_out_too_much", lambda of: ledger.books(of).get(Account.LOSSES, 0))


def a_course_of_two_open_orders_is_sold_twice(patch):
    async def nothing(session, learner_id, at, *, beside=None):
        return frozenset()

    everywhere(patch, bought_courses, nothing)


@dataclass(frozen=True)
class Fault:
    change: Callable[[Any], None]
    seen_as: str
    """How what the first of these lives says of it begins."""
    begin: int = 0
    """The first life that met it when this was written; they are searched from there on."""
    needs: frozenset[str] = frozenset()
    """Lives without these are passed over: they cannot meet it."""
    kind: type[Life] = Life

    def bring_back(self, patch):
        """Make the change. Raises CalledOtherwise where a function is called otherwise by now than what replaces it."""
        self.change(Faithful(patch.setattr))


def _fault(
    change: Callable[[Any], None], seen_as: str, begin: int, *needs: str, kind: type[Life] = Life
) -> tuple[str, Fault]:
    return change.__name__, Fault(change, seen_as, begin, frozenset(needs), kind)


FAULTS = dict(
    (
        _fault(
            a_refunds_stale_answer_is_believed, "announced what did not happen: paid back", 54, "overtake", "refunding"
        ),
        _fault(
            a_refunds_lagging_answer_is_believed, "announced what did not happen: paid back", 54, "lag", "refunding"
        ),
        _fault(a_refusal_is_not_compared, "stuck: refunds are open at rest", 1166, "overtake", "delivered"),
        _fault(a_refund_that_comes_back_is_sent_beside, "cash is not what the provider says", 11, "return", "refunded"),
        _fault(a_payments_lagging_answer_is_believed, "cash is not what the provider says", 18, "lag", "paid"),
        _fault(a_payments_stale_answer_is_believed, "cash is not what the provider says", 18, "overtake", "paid"),
        _fault(too_little_is_kept_when_another_part_is_lost, "unapplied is open at rest", 30, "parts"),
        _fault(too_little_is_kept_when_it_comes_back, "unapplied is open at rest", 30, "parts"),
        _fault(
            too_little_is_kept_when_it_comes_back_to_an_order_that_was_left, "unapplied is open at rest", 10, "parts"
        ),
        _fault(too_little_is_kept, "unapplied is open at rest", 10, "parts"),
        _fault(
            a_refund_paid_after_the_loss_is_an_asset, "refund_liability is open at rest", 27, "reverse", "refunding"
        ),
        _fault(a_line_of_lost_money_is_owed, "stuck: refunds are open at rest", 19, "refuse", "reverse"),
        _fault(a_sum_that_changes_is_taken_over, "cash is not what the provider says", 26, "changed"),
        _fault(what_the_bank_took_is_restored, "the bank took it; restored", 19, "bank"),
        _fault(what_the_bank_gives_back_is_owed_to_nobody, "cash is not what the provider says", 46, "bank"),
        _fault(lost_money_on_its_way_is_owed, "stuck: refunds are open at rest", 253, "refuse", "revived"),
        _fault(
            a_callback_puts_off_what_is_to_be_asked,
            "cash is not what the provider says",
            932,
            "lost_callbacks",
            "reverse",
            "paid",
        ),
        _fault(a_second_payment_in_a_session_is_never_looked_for, "cash is not what the provider says", 59, "declined"),
        _fault(payers_queue_behind_the_poller, "a payer waits for what is asked in the background", 7, "narrow"),
        _fault(a_round_without_progress_goes_on, "stuck: a job does not come to an end", 149, "bank", "delivered"),
        _fault(one_odd_row_stops_the_job, "stuck: one row stops the job submit_refunds", 0, "sick"),
        _fault(
            an_unknown_word_is_a_refused_payment,
            "announced what did not happen: a payment was lost",
            267,
            "word",
            "new",
        ),
        _fault(
            an_unknown_word_is_a_refused_refund,
            "announced what did not happen: a refund failed",
            6,
            "word",
            "refunding",
        ),
        _fault(
            an_answer_that_cannot_be_read_is_a_refusal,
            "announced what did not happen: a refund failed",
            193,
            "sick",
            "delivered",
        ),
        _fault(
            a_refund_without_our_reference_is_not_there, "cash is not what the provider says", 84, "nulls", "delivered"
        ),
        _fault(a_payment_without_our_reference_is_not_ours, "cash is not what the provider says", 26, "nulls"),
        _fault(
            an_unknown_word_takes_back_a_refund_that_was_paid,
            "announced what did not happen: a refund is delayed",
            249,
            "odd_words",
            "refunded",
        ),
        _fault(
            a_word_about_another_payments_refund_is_believed,
            "cash is not what the provider says",
            80,
            "others",
            "refunding",
        ),
        _fault(a_loss_stays_shown_when_it_is_none, "finance is shown a loss", 320, "overtake", "reverse", "delivered"),
        _fault(a_word_dated_in_the_future_is_believed, "cash is not what the provider says", 37, "future", "refunded"),
        _fault(a_course_of_two_open_orders_is_sold_twice, "sold twice", 0, kind=TwoOrders),
        _fault(
            what_was_granted_while_lost_is_asked_for_again, "asked to pay again", 0, "grants", "reverse", kind=Decided
        ),
        _fault(a_refund_is_sent_beside_one_by_hand, "", 0, "by_hand", "delivered", kind=Decided),
        _fault(what_finance_explains_is_closed_alone, "", 0, "by_hand", "delivered", kind=Decided),
        _fault(what_was_paid_by_hand_is_shown_to_nobody, "", 0, "by_hand", "delivered", kind=Decided),
    )
)
