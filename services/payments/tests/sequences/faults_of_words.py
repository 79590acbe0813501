"""Faults that payments had in reading the provider's words, each brought back by the smallest change."""

from datetime import timedelta

from payments.adapters import flywire, flywire_shapes
from payments.adapters.provider import ProviderRefused
from payments.commands import refund_facts, settlement
from payments.domain.payments import ProviderStatus
from payments.domain.refunds import ProviderRefundStatus, Verdict
from payments.jobs import asking, refunding


def refused(status, refusal):
    return refusal if status == "unknown" else status


def an_unknown_word_is_a_refused_payment(patch):
    known = flywire_shapes.payment_status
    patch.setattr(flywire_shapes, "payment_status", lambda word: refused(known(word), ProviderStatus.FAILED))


def an_unknown_word_is_a_refused_refund(patch):
    known = flywire_shapes.refund_status
    patch.setattr(flywire_shapes, "refund_status", lambda word: refused(known(word), ProviderRefundStatus.CANCELLED))


def an_answer_that_cannot_be_read_is_a_refusal(patch):
    read = flywire._read

    def refuse(shape, answer):
        try:
            return read(shape, answer)
        except flywire.ProviderUnclear as error:
            raise ProviderRefused("not understood", provider_status=200) from error

    patch.setattr(flywire, "_read", refuse)


def a_refund_without_our_reference_is_not_there(patch):
    apply = refunding.apply_refund_fact

    async def by_reference(work, claim, listed):
        ours = [one for one in listed if one.our_reference == str(claim.refund.refund_id)]
        return refunding._Known(ours, ours, [], new=bool(ours))

    async def apply_what_names_it(session, provider, fact, *, asked_for=None, **more):
        return await apply(session, provider, fact, **more)

    patch.setattr(refunding, "_match_refunds", by_reference)
    patch.setattr(refunding, "apply_refund_fact", apply_what_names_it)


def a_payment_without_our_reference_is_not_ours(patch):
    apply = asking.apply_payment_fact

    async def apply_what_names_it(session, provider, fact, public_urls, *, asked_for="", **more):
        return await apply(session, provider, fact, public_urls, **more)

    patch.setattr(asking, "apply_payment_fact", apply_what_names_it)


def an_unknown_word_takes_back_a_refund_that_was_paid(patch):
    judge = refund_facts.judge

    def believe(last, fact, **how):
        verdict = judge(last, fact, **how)
        return Verdict.APPLY if verdict is Verdict.UNCLEAR else verdict

    patch.setattr(refund_facts, "judge", believe)


def a_word_about_another_payments_refund_is_believed(patch):
    patch.setattr(refund_facts, "is_of_payment", lambda *_: True)


def a_word_dated_in_the_future_is_believed(patch):
    patch.setattr(refund_facts, "CLOCKS_APART", timedelta(days=999))
    patch.setattr(settlement, "CLOCKS_APART", timedelta(days=999))
