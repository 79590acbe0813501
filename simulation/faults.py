"""Faults that the platform once had, each brought back by a small change: the simulator must see them.

Each function takes `patch(object, name, value)`; docs/testing.md has the table of what finds them. Faults that show
within one service are in faults_of_kinds.py.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import pytest
from sqlalchemy import false

from catalogue.commands import listings, reference
from credentials.commands import issuing
from credentials.commands import people as credential_people
from payments.adapters import flywire, flywire_shapes
from payments.commands import losses, refund_facts, settlement
from payments.domain.payments import ProviderStatus
from payments.domain.refunds import ProviderRefundStatus
from payments.jobs import refunding
from payments.queries.payments import unreturned
from shared import due_rows
from shared.messaging import retrying
from shared.testing.replacing import Faithful
from simulation.faults_of_kinds import EDITS, LIVED_TOO, Edit, Patch, patch_everywhere


class _Equal:
    """An object that equals anything, so that a comparison with it finds no difference."""

    def __getitem__(self, _: object) -> "_Equal":
        return self

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False

    __hash__ = object.__hash__


_BELIEVED: Final = """    if fetched and verdict in {Verdict.ASK, Verdict.DOUBT}:
        verdict = Verdict.APPLY
    match verdict:"""


def a_refunds_overtaken_answer_is_believed(patch: Patch) -> None:
    overtaken = "elif fetched and asked.revision != asked_at_revision:"
    Edit(refund_facts, "apply_refund_fact", overtaken, "elif False:").bring_back(patch)
    Edit(refund_facts, "_without_effect", "    match verdict:", _BELIEVED).bring_back(patch)


def a_payments_overtaken_answer_is_believed(patch: Patch) -> None:
    overtaken = "if payment is not None and fetched and payment.revision != asked_at_revision:"
    Edit(settlement, "apply_payment_fact", overtaken, "if False:").bring_back(patch)
    Edit(settlement, "_without_effect", "    match verdict:", _BELIEVED).bring_back(patch)


def too_little_is_kept(patch: Patch) -> None:
    patch_everywhere(patch, unreturned, false)


def what_the_bank_took_is_restored(patch: Patch) -> None:
    async def never(*_: Any) -> bool:
        return False

    patch(settlement, "is_lost_to_the_bank", never)
    if hasattr(losses, "is_lost_to_the_bank"):
        patch(losses, "is_lost_to_the_bank", never)


def a_refund_is_sent_again_without_a_look(patch: Patch) -> None:
    async def blind(*_: Any) -> list[Any]:
        return []

    patch(flywire.Flywire, "refunds_of", blind)


def a_refund_that_was_not_answered_is_sent_again(patch: Patch) -> None:
    Edit(
        refunding, "_submit", "if refund.submitted_at is not None:\n        await", "if False:\n        await"
    ).bring_back(patch)


def _refused(status: str, refusal: str) -> str:
    return refusal if status == "unknown" else status


def an_unknown_word_is_a_refused_payment(patch: Patch) -> None:
    known = flywire_shapes.payment_status
    patch(flywire_shapes, "payment_status", lambda word: _refused(known(word), ProviderStatus.FAILED))


def an_unknown_word_is_a_refused_refund(patch: Patch) -> None:
    known = flywire_shapes.refund_status
    patch(flywire_shapes, "refund_status", lambda word: _refused(known(word), ProviderRefundStatus.CANCELLED))


def one_odd_row_stops_the_job(patch: Patch) -> None:
    async def handle(_: Any, handle: Any, argument: Any, __: Any) -> None:
        await handle(argument)

    patch(due_rows._Round, "_try", handle)


def a_badge_is_stored_though_its_holder_is_another(patch: Patch) -> None:
    async def whoever(*_: Any) -> _Equal:
        return _Equal()

    patch(issuing, "holders_of", whoever)


def erasure_does_not_reach_credentials(patch: Patch) -> None:
    async def nothing(*_: Any, **__: Any) -> None: ...

    patch(credential_people, "erase_person", nothing)


def listings_are_made_of_a_stale_snapshot(patch: Patch) -> None:
    async def nothing(*_: Any) -> None: ...

    patch(listings, "lock_courses", nothing)
    patch(reference, "lock_courses", nothing)


def a_message_that_waits_is_given_up_like_a_failed_one(patch: Patch) -> None:
    patch(retrying, "RetryLater", type("Never", (Exception,), {}))


@dataclass(frozen=True)
class Fault:
    change: Callable[[Patch], None]
    test: str
    """The pytest node that must fail with the fault."""
    needs: frozenset[str] | None = None
    """Behaviours without which no life can meet the fault; None where the simulator need not find it."""

    def bring_back(self, patch: Patch) -> None:
        """Make the change. Raises CalledOtherwise where a function is called otherwise by now than what replaces it."""
        self.change(Faithful(patch).setattr)


_PAYMENTS: Final = "services/payments/tests"
_CREDENTIALS: Final = "services/credentials/tests"
_LIVED: Final = (
    (
        a_refunds_overtaken_answer_is_believed,
        f"{_PAYMENTS}/test_overtaken_refunds.py::test_a_stale_answer_does_not_undo_what_a_callback_reported",
        ("refunds", "interleaving"),
    ),
    (
        a_payments_overtaken_answer_is_believed,
        f"{_PAYMENTS}/test_late_words.py::test_a_copy_of_the_provider_that_lags_behind_loses_no_money",
        ("interleaving",),
    ),
    (
        too_little_is_kept,
        f"{_PAYMENTS}/test_cases.py::test_m11_an_underpaid_order_gives_no_access_and_the_money_goes_back_after_14_days",
        ("odd sums",),
    ),
    (
        what_the_bank_took_is_restored,
        f"{_PAYMENTS}/test_late_words.py::test_what_the_bank_took_is_not_back_by_way_of_a_payment_that_begins_anew",
        ("disputes",),
    ),
    (
        a_refund_is_sent_again_without_a_look,
        f"{_PAYMENTS}/test_overtaken_refunds.py::test_a_retry_looks_at_the_provider_before_it_sends",
        ("refunds", "lost answers"),
    ),
    (
        a_refund_that_was_not_answered_is_sent_again,
        f"{_PAYMENTS}/test_unanswered_refunds.py::test_it_is_paid_once_however_late_it_takes_effect",
        ("refunds", "late effects"),
    ),
    (
        an_unknown_word_is_a_refused_payment,
        f"{_PAYMENTS}/test_odd_payments.py::test_a_word_we_do_not_know_is_not_known_yet",
        ("odd words",),
    ),
    (
        an_unknown_word_is_a_refused_refund,
        f"{_PAYMENTS}/test_overtaken_refunds.py::test_a_refund_reported_in_a_word_we_do_not_know_is_no_refusal",
        ("odd words", "refunds"),
    ),
    (
        one_odd_row_stops_the_job,
        "libs/shared/tests/test_due_rows.py::test_a_bad_row_holds_no_other_and_leaves_nothing_behind",
        ("garbled answers",),
    ),
    (
        a_badge_is_stored_though_its_holder_is_another,
        f"{_CREDENTIALS}/test_erasure.py::test_no_badge_is_made_out_to_who_was_erased_while_it_was_signed",
        ("interleaving", "erasure"),
    ),
    (
        erasure_does_not_reach_credentials,
        f"{_CREDENTIALS}/test_erased_for_good.py::test_a_revoked_badge_loses_the_hash_of_the_address_as_well",
        ("erasure",),
    ),
    (
        listings_are_made_of_a_stale_snapshot,
        "services/catalogue/tests/test_renaming.py::test_a_course_withdrawn_meanwhile_stays_withdrawn",
        ("catalogue changes", "open transactions"),
    ),
    (
        a_message_that_waits_is_given_up_like_a_failed_one,
        "libs/shared/tests/test_retrying.py::test_what_each_outcome_makes_of_each_state",
        ("disorder",),
    ),
)

FAULTS: Final = {
    **{bring_back.__name__: Fault(bring_back, test, frozenset(needs)) for bring_back, test, needs in _LIVED},
    **{name: Fault(edit.bring_back, test, LIVED_TOO.get(name)) for name, (edit, test) in EDITS.items()},
}


@contextmanager
def brought_back(name: str) -> Iterator[None]:
    """Give the platform this fault while the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        FAULTS[name].bring_back(patch.setattr)
        yield
