"""Faults that the platform had, each brought back by a small change: the simulator must see them.

Each function takes `patch(object, name, value)`; docs/testing.md has the table of what finds them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import false

from catalogue.commands import listings
from credentials.commands import issuing
from credentials.commands import people as credential_people
from payments import queries as payment_queries
from payments.adapters import flywire
from payments.commands import losses, refund_facts, settlement
from payments.domain.payments import ProviderStatus
from payments.domain.refunds import ProviderRefundStatus
from payments.jobs import asking, refunding
from shared import due_rows
from shared.messaging import inbox

Patch = Callable[[Any, str, Any], None]  # Any: whatever is changed


class _Whichever(int):
    """A revision that is never overtaken."""

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False

    __hash__ = int.__hash__


class _Equal:
    """Equal to anything: nothing is compared."""

    def __getitem__(self, _: object) -> "_Equal":
        return self

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False

    __hash__ = object.__hash__


def _believe(module: Any, patch: Patch) -> None:
    judge = module.judge
    patch(
        module,
        "judge",
        lambda last, fact, *, fetched, **_: judge(last, fact, fetched=fetched, patience=timedelta(days=-9)),
    )


def a_refunds_overtaken_answer_is_believed(patch: Patch) -> None:
    apply = refunding.apply_refund_fact

    async def apply_unseen(session: Any, provider: Any, fact: Any, *, asked_at_revision: Any = None) -> Any:
        revision = None if asked_at_revision is None else _Whichever(asked_at_revision)
        return await apply(session, provider, fact, asked_at_revision=revision)

    patch(refunding, "apply_refund_fact", apply_unseen)
    _believe(refund_facts, patch)


def a_payments_overtaken_answer_is_believed(patch: Patch) -> None:
    apply = asking.apply_payment_fact

    async def apply_unseen(
        session: Any, provider: Any, fact: Any, places: Any, *, asked_at_revision: Any = None
    ) -> Any:
        return await apply(session, provider, fact, places, asked_at_revision=_Whichever(asked_at_revision or 0))

    patch(asking, "apply_payment_fact", apply_unseen)
    if hasattr(settlement, "judge"):
        _believe(settlement, patch)


def too_little_is_kept(patch: Patch) -> None:
    patch(payment_queries, "unreturned", false)


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


def an_unknown_word_is_a_refused_payment(patch: Patch) -> None:
    patch(ProviderStatus, "_missing_", classmethod(lambda cls, _: cls.FAILED))


def an_unknown_word_is_a_refused_refund(patch: Patch) -> None:
    patch(ProviderRefundStatus, "_missing_", classmethod(lambda cls, _: cls.CANCELLED))


def one_odd_row_stops_the_job(patch: Patch) -> None:
    async def handle(_: Any, handle: Any, argument: Any, __: Any) -> None:
        await handle(argument)

    patch(due_rows._Round, "_try", handle)


def a_badge_is_stored_though_its_holder_is_another(patch: Patch) -> None:
    async def whoever(*_: Any) -> _Equal:
        return _Equal()

    patch(issuing.queries, "holders_of", whoever)


def erasure_does_not_reach_credentials(patch: Patch) -> None:
    async def nothing(*_: Any, **__: Any) -> None: ...

    patch(credential_people, "forget_person", nothing)


def listings_are_made_of_a_stale_snapshot(patch: Patch) -> None:
    async def nothing(*_: Any) -> None: ...

    patch(listings, "lock_courses", nothing)


def a_message_that_waits_is_given_up_like_a_failed_one(patch: Patch) -> None:
    patch(inbox, "NotYet", type("Never", (Exception,), {}))


@dataclass(frozen=True)
class Fault:
    bring_back: Callable[[Patch], None]
    needs: frozenset[str] = frozenset()
    """Lives without these behaviours cannot meet it and are passed over."""


FAULTS: Final = {
    bring_back.__name__: Fault(bring_back, frozenset(needs))
    for bring_back, *needs in (
        (a_refunds_overtaken_answer_is_believed, "refunds", "interleaving"),
        (a_payments_overtaken_answer_is_believed, "interleaving"),
        (too_little_is_kept, "odd sums"),
        (what_the_bank_took_is_restored, "disputes"),
        (a_refund_is_sent_again_without_a_look, "refunds", "lost answers"),
        (an_unknown_word_is_a_refused_payment, "odd words"),
        (an_unknown_word_is_a_refused_refund, "odd words", "refunds"),
        (one_odd_row_stops_the_job, "garbled answers"),
        (a_badge_is_stored_though_its_holder_is_another, "interleaving", "erasure"),
        (erasure_does_not_reach_credentials, "erasure"),
        (listings_are_made_of_a_stale_snapshot, "catalogue changes", "open transactions"),
        (a_message_that_waits_is_given_up_like_a_failed_one, "disorder"),
    )
}


@contextmanager
def brought_back(name: str) -> Iterator[None]:
    """While it lasts the platform has this fault."""
    with pytest.MonkeyPatch.context() as patch:
        FAULTS[name].bring_back(patch.setattr)
        yield
