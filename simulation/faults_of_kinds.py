"""Faults that show within one service or a part of it: the test of the fault's kind must fail with each.

Each is brought back by an edit of one function's source; where the source has changed, bringing it back fails.
"""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from textwrap import dedent
from typing import Any, Final

import assessment.commands.boards
import assessment.commands.enrolments
import credentials.commands.facts
import credentials.commands.issuing
import credentials.commands.people
import credentials.commands.reviews
import credentials.commands.status_lists
import credentials.domain.awards
import credentials.domain.reviews
import credentials.exchange.commands.transfers
import credentials.queries.holds
import gateway.edge.connection
import payments.commands.checkout
import payments.commands.disputes
import payments.commands.erasure
import payments.commands.losses
import payments.commands.orders
import payments.commands.refunds
import payments.commands.settlement
import payments.domain.orders
import payments.jobs.refunding
import payments.queries.orders
import payments.queries.payments
import shared.access
import shared.due_rows
import shared.emails
import shared.leases

Patch = Callable[[Any, str, Any], None]  # Any: whatever is changed


def patch_everywhere(patch: Patch, function: Any, instead: Any) -> None:  # Any: a function of any kind
    """Replace a function in each module that knows it by its name."""
    for module in list(sys.modules.values()):
        if getattr(module, "__dict__", {}).get(function.__name__) is function:
            patch(module, function.__name__, instead)


@dataclass(frozen=True)
class Edit:
    """An edit of the function or method `name` of `module`: the text `was`, which stands there once, is replaced, and
    so is the first of each of the `further` pairs."""

    module: Any  # Any: a module
    name: str
    was: str
    instead: str
    further: tuple[tuple[str, str], ...] = ()

    def bring_back(self, patch: Patch) -> None:
        *path, last = self.name.split(".")
        owner = reduce(getattr, path, self.module)
        now = getattr(owner, last)
        source = dedent(inspect.getsource(now))
        for was, instead in ((self.was, self.instead), *self.further):
            if source.count(was) != 1:
                message = f"{self.module.__name__}.{self.name} has no {was!r} any more, or several"
                raise LookupError(message)
            source = source.replace(was, instead)
        made: dict[str, Any] = {}  # Any: the one function
        changed = compile(source, f"<{self.name}, as it was>", "exec", dont_inherit=True)
        exec(changed, self.module.__dict__, made)  # noqa: S102 - our own text
        if path:
            patch(owner, last, made[last])
        else:
            patch_everywhere(patch, now, made[last])


_PAYMENTS: Final = "services/payments/tests"
_CREDENTIALS: Final = "services/credentials/tests"
_ASSESSMENT: Final = "services/assessment/tests"
_EMPTIED: Final = "await session.execute(delete(BasketItem).where(BasketItem.learner_id == learner_id))\n"

EDITS: Final[dict[str, tuple[Edit, str]]] = {
    "a_reversed_order_is_never_paid_again": (
        Edit(
            payments.domain.orders,
            "check_payable",
            "status not in UNPAID and status != OrderStatus.REVERSED",
            "status not in UNPAID",
        ),
        f"{_PAYMENTS}/test_pay_again.py::test_a_reversed_order_is_paid_again_and_access_is_as_before",
    ),
    "what_is_owed_is_sold_beside_it": (
        Edit(payments.queries.orders, "open_orders", "OrderStatus.UNDERPAID, again)", "OrderStatus.UNDERPAID)"),
        f"{_PAYMENTS}/test_pay_again.py::test_while_it_can_be_paid_again_its_courses_are_not_sold_beside_it",
    ),
    "words_about_money_are_in_the_order_of_clocks": (
        Edit(payments.commands.orders, "next_announcement_at", "if order.announced_at is not None", "if False"),
        f"{_PAYMENTS}/test_pay_again.py::test_the_last_word_about_money_is_the_latest_whichever_replicas_clock_dated_it",
    ),
    "an_amount_changes_after_it_was_used": (
        Edit(payments.commands.settlement, "_note", "    if anew:", "    if True:"),
        (
            f"{_PAYMENTS}/test_changed_amounts.py"
            "::test_money_that_was_used_and_is_another_sum_now_is_shown_to_finance_once"
        ),
    ),
    "a_dispute_is_of_whatever_pays_the_order": (
        Edit(payments.commands.disputes, "_disputed_payment", "if reference is None:", "if True:"),
        f"{_PAYMENTS}/test_disputed_payments.py::test_a_duplicate_that_is_charged_back_is_not_refunded_besides",
    ),
    "a_duplicate_that_is_lost_takes_the_order_along": (
        Edit(payments.commands.losses, "lose", "    if payment.use != Use.ORDER:\n        return\n", ""),
        f"{_PAYMENTS}/test_disputed_payments.py::test_a_duplicate_that_is_charged_back_is_not_refunded_besides",
    ),
    "what_the_bank_gives_back_is_owed_to_nobody": (
        Edit(payments.commands.disputes, "close_dispute", "elif payment.state == State.LOST:", "elif False:"),
        (
            f"{_PAYMENTS}/test_bank_decisions.py"
            "::test_money_that_the_bank_gives_back_after_the_order_was_paid_again_goes_back_whole"
        ),
    ),
    "a_dispute_once_lost_counts_for_ever": (
        Edit(payments.queries.payments, "lost_to_the_bank", "Dispute.closed_at.desc()", "Dispute.closed_at"),
        f"{_PAYMENTS}/test_bank_decisions.py::test_what_revives_after_the_bank_gave_it_back_is_there_again",
    ),
    "a_dispute_of_a_duplicate_holds_up_the_order": (
        Edit(
            payments.commands.refunds,
            "_paid_line",
            "if paying is not None and await is_disputed(session, paying.payment_id):",
            "from payments.queries.payments import payments_of\n"
            "    if any([await is_disputed(session, one.payment_id) "
            "for one in await payments_of(session, order.order_id)]):",
        ),
        f"{_PAYMENTS}/test_disputed_payments.py::test_while_a_duplicate_is_disputed_the_order_is_given_back_as_ever",
    ),
    "a_refusal_is_believed_though_the_money_is_gone": (
        Edit(
            payments.jobs.refunding,
            "_send",
            "if said.status is not ProviderStatus.DELIVERED:  # that is why",
            "if False:",
        ),
        (
            f"{_PAYMENTS}/test_refunds_of_lost_money.py"
            "::test_a_refund_that_is_refused_for_its_money_is_gone_is_cancelled"
        ),
    ),
    "a_refund_fails_of_money_that_the_bank_took": (
        Edit(payments.commands.refunds, "fail_refund", "if payment.state == State.LOST:", "if False:"),
        (
            f"{_PAYMENTS}/test_refunds_of_lost_money.py"
            "::test_a_refund_that_is_refused_while_the_bank_takes_its_money_is_cancelled"
        ),
    ),
    "a_basket_is_emptied_before_the_orders_that_fill_it": (
        Edit(
            payments.commands.erasure,
            "erase_payer",
            "    for order in await session.scalars(\n",
            f"    {_EMPTIED}    for order in await session.scalars(\n",
            ((f"back.\n    {_EMPTIED}", "back.\n"),),
        ),
        f"{_PAYMENTS}/test_pairs.py::test_no_two_commands_on_one_learner_harm_each_other",
    ),
    "two_pay_pages_are_opened_by_clocks_apart": (
        Edit(payments.commands.checkout, "_open_attempt", "if at - attempt.started_at < LONGEST_OPENING:", "if False:"),
        f"{_PAYMENTS}/test_slow_openings.py::test_two_replicas_whose_clocks_are_apart_open_one_pay_page",
    ),
    "emails_of_the_erased_stay_in_payments": (
        Edit(payments.commands.erasure, "erase_payer", "    await _erase_emails(session, learner_id)\n", ""),
        f"{_PAYMENTS}/test_erasure.py::test_addresses_basket_and_raw_callbacks_go_and_the_books_stay",
    ),
    "what_is_given_back_while_lost_keeps_its_enrolment": (
        Edit(
            payments.commands.refunds,
            "grant_refund",
            "_publish_request(session, refund, line)",
            "pass",
        ),
        (
            f"{_PAYMENTS}/test_given_up_while_lost.py"
            "::test_finance_gives_back_a_course_whose_money_is_lost_and_moves_none"
        ),
    ),
    "beside_a_refund_by_hand_others_are_sent": (
        Edit(payments.jobs.refunding, "_submit", "if known.unexplained:", "if False:"),
        (
            f"{_PAYMENTS}/test_unknown_refunds.py"
            "::test_while_it_is_not_explained_finance_is_shown_it_and_nothing_is_sent"
        ),
    ),
    "a_module_passed_again_earns_nothing": (
        Edit(
            assessment.commands.boards,
            "_make_room",
            "if ids := (await session.scalars(revoked)).all():",
            "if ids := list[object]():",
        ),
        (
            f"{_ASSESSMENT}/test_credit_earned_anew.py"
            "::test_a_new_pass_gives_credit_after_a_revocation_and_the_old_is_not_given_back_beside_it"
        ),
    ),
    "who_is_accused_ends_the_case_by_leaving": (
        Edit(assessment.commands.enrolments, "void_unratified", "            Attempt.case_id.is_(None),\n", ""),
        f"{_ASSESSMENT}/test_ended_enrolments.py::test_who_is_accused_does_not_end_the_case_by_leaving",
    ),
    "a_fail_is_washed_off_by_buying_again": (
        Edit(
            assessment.commands.enrolments,
            "void_unratified",
            "            (Attempt.state != AttemptState.RELEASED) | Attempt.passed,\n",
            "",
        ),
        f"{_ASSESSMENT}/test_ended_enrolments.py::test_a_fail_and_the_cap_are_not_washed_off_by_buying_again",
    ),
    "a_revoked_badge_keeps_the_hash_of_the_address": (
        Edit(
            credentials.commands.issuing,
            "erase_holder",
            'badge.document["credentialSubject"].has_key("identifier"),',
            'badge.document["credentialSubject"].has_key("identifier"), badge.revoked_at.is_(None),',
        ),
        f"{_CREDENTIALS}/test_erased_for_good.py::test_a_revoked_badge_loses_the_hash_of_the_address_as_well",
    ),
    "emails_of_the_erased_stay_in_credentials": (
        Edit(
            credentials.commands.people,
            "erase_person",
            "await emails.erase_emails(session, learner_id, None if person is None else person.email)",
            "pass",
        ),
        f"{_CREDENTIALS}/test_erased_for_good.py::test_emails_that_wait_to_be_sent_go_with_their_reader",
    ),
    "no_list_is_published_while_entries_are_drawn": (
        Edit(credentials.commands.status_lists, "publish_list", '{"key_share": True}', "True"),
        f"{_CREDENTIALS}/test_status_lists.py::test_a_list_is_published_while_others_draw_entries_in_it",
    ),
    "an_older_list_is_put_over_a_newer_one": (
        Edit(credentials.commands.status_lists, "publish_list", "if row.token != one.outdated.replaces:", "if False:"),
        f"{_CREDENTIALS}/test_status_lists.py::test_a_run_that_was_overtaken_puts_no_older_list_over_a_newer_one",
    ),
    "a_badge_states_anothers_reason": (
        Edit(credentials.domain.awards, "achievement_id", ":{title}:{reason}", ":{title}"),
        f"{_CREDENTIALS}/test_chains_of_awards.py::test_each_badge_of_a_title_states_its_own_reason",
    ),
    "the_middle_of_a_chain_gives_back_what_the_top_holds": (
        Edit(credentials.commands.reviews, "_give_back", "if holding := _holding(lower, record):", "if False:"),
        (
            f"{_CREDENTIALS}/test_chains_of_awards.py"
            "::test_the_middle_of_a_chain_rescinded_hands_the_lowest_on_to_the_highest"
        ),
    ),
    "a_substitution_takes_what_another_award_holds": (
        Edit(credentials.domain.reviews, "spare", "credit.id not in taken and ", ""),
        f"{_CREDENTIALS}/test_chains_of_awards.py::test_a_substitution_takes_no_credit_from_another_award",
    ),
    "the_top_of_a_chain_bars_the_lowest": (
        Edit(
            credentials.commands.reviews,
            "_chain",
            "{str(award_id) for award_id in (*above(award.award_id), *below)}",
            "{str(award.superseded_by)}",
        ),
        f"{_CREDENTIALS}/test_chains_of_awards.py::test_the_lowest_of_three_may_share_credit_with_both_above",
    ),
    "held_credit_is_accepted_and_used_up": (
        Edit(
            credentials.exchange.commands.transfers,
            "_must_not_be_on_hold",
            "if await is_on_hold(session, learner_id):",
            "if False:",
        ),
        f"{_CREDENTIALS}/test_steps_of_transfers.py::test_nothing_is_accepted_or_completed_while_something_is_open",
    ),
    "what_was_suspended_once_holds_all_credit_for_ever": (
        Edit(credentials.commands.facts, "keep_suspension", '("sequence", "suspended")', '("sequence",)'),
        f"{_CREDENTIALS}/test_holds.py::test_all_credit_waits_until_the_hold_ends_and_then_goes_through",
    ),
    "who_leaves_a_course_frees_credit_that_nobody_paid_for": (
        Edit(credentials.queries.holds, "is_unpaid", "and_(enrolment.end_reason == WITHDRAWN, gone),", ""),
        f"{_CREDENTIALS}/test_holds.py::test_credit_of_a_course_given_up_is_held_while_its_money_is_gone_and_no_longer",
    ),
    "a_transfer_is_requested_of_a_partner_that_is_being_closed": (
        Edit(
            credentials.exchange.commands.transfers,
            "request_transfer",
            "await open_partner(session, programme.client_id, READING, DECIDING)\n",
            "await fetch(session, Partner, programme.client_id)\n"
            "    if partner.closed_at is not None or not {READING, DECIDING} <= set(partner.scopes):\n"
            "        partner = None\n",
        ),
        f"{_CREDENTIALS}/test_pairs.py::test_no_two_commands_on_one_learner_harm_each_other",
    ),
    "people_decide_about_themselves": (
        Edit(shared.access, "refuse_concerned", "raise error", "pass"),
        f"{_PAYMENTS}/test_disputes.py::test_finance_decides_nothing_about_an_order_of_their_own",
    ),
    "an_odd_address_ends_the_post": (
        Edit(
            shared.emails,
            "EmailSender._deliver",
            "except Exception as error:",
            "except (OSError, ValueError) as error:",
        ),
        "libs/shared/tests/test_emails.py::test_no_failure_of_one_email_ends_the_email_sender",
    ),
    "a_dead_hosts_lease_is_never_free": (
        Edit(shared.leases, "_take", "(_TAKE,", '(_TAKE.replace("held.until <= clock_timestamp() or", ""),'),
        "libs/shared/tests/test_leases.py::test_the_lease_of_a_host_that_died_is_free_soon",
    ),
    "those_who_never_failed_wait_for_those_who_did": (
        Edit(
            shared.due_rows, "_Round.__init__", "due.where(~exists().where(*failed)).limit(batch),", "due.limit(batch),"
        ),
        "libs/shared/tests/test_due_rows.py::test_rows_that_never_failed_come_before_any_number_of_others",
    ),
    "a_kept_connection_is_never_read_again": (
        Edit(gateway.edge.connection, "Connection.finished", "self._resume_reading()", "pass"),
        "gateway/tests/test_connections.py::test_a_connection_whose_large_answer_came_whole_at_once_is_read_again",
    ),
}
"""The edit of each fault, and the test that finds it."""

LIVED_TOO: Final[dict[str, frozenset[str]]] = {
    "emails_of_the_erased_stay_in_payments": frozenset({"erasure"}),
    "what_the_bank_gives_back_is_owed_to_nobody": frozenset({"disputes"}),
    "what_is_given_back_while_lost_keeps_its_enrolment": frozenset({"refunds"}),
    "beside_a_refund_by_hand_others_are_sent": frozenset({"refunds", "refunds by hand"}),
    "a_module_passed_again_earns_nothing": frozenset({"revocations"}),
    "a_revoked_badge_keeps_the_hash_of_the_address": frozenset({"erasure", "revocations"}),
    "a_badge_states_anothers_reason": frozenset(),
    "what_was_suspended_once_holds_all_credit_for_ever": frozenset(),
    "the_middle_of_a_chain_gives_back_what_the_top_holds": frozenset({"revocations"}),
    "a_substitution_takes_what_another_award_holds": frozenset({"revocations"}),
}
"""The faults that whole lives meet as well, with the behaviours they need for it."""
