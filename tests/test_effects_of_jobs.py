"""What each job does that cannot be undone: on an old copy of a database, or the wrong one, it must not do it at once."""

import pytest

from embedded.services import NAMES, build, nowhere
from shared.jobs import Effect, Jobs
from shared.process import housekeeping

REVERSIBLE, ENDS, REMOVES = Effect.REVERSIBLE, Effect.ENDS, Effect.REMOVES

EFFECTS = {
    "every service": {
        "keep_event_log": (REVERSIBLE, "it adds parts and begins epochs"),
        "bring_due_times_forward": (REVERSIBLE, "it makes rows due that are due in the end"),
        "forget_old_records": (REMOVES, "keys and e-mails"),
    },
    "catalogue": {
        "renew_listings": (REVERSIBLE, "it copies a subject's name"),
        "renew_listings_again": (REVERSIBLE, "as renew_listings"),
    },
    "enrolment": {
        "settle_waiting_lines": (ENDS, "it refuses who has not registered in time, and the money goes back"),
        "end_unpaid_enrolments": (ENDS, "it cancels whose money has not come back in time"),
        "claim_store": (REVERSIBLE, "it looks whose the store is, and takes the first one that is empty"),
        "remove_orphans": (REMOVES, "files that no row names"),
        "retry_orphans": (REMOVES, "as remove_orphans"),
        "check_files": (REVERSIBLE, "it reads files that were set aside"),
    },
    "assessment": {
        "publish_windows": (REVERSIBLE, "it adds windows to come"),
        "announce_windows": (REVERSIBLE, "windows open and close by their own times, which nobody else announces"),
        "release_results": (REVERSIBLE, "it goes on with what a person decided"),
        "ratify_results": (REVERSIBLE, "it goes on with what a board decided"),
        "claim_store": (REVERSIBLE, "it looks whose the store is, and takes the first one that is empty"),
        "remove_orphans": (REMOVES, "files that no row names"),
        "retry_orphans": (REMOVES, "as remove_orphans"),
        "check_files": (REVERSIBLE, "it reads files that were set aside"),
    },
    "credentials": {
        "read_people": (REVERSIBLE, "it copies from the directory"),
        "read_confirmations": (REVERSIBLE, "it copies from the directory"),
        "sign_badges": (REVERSIBLE, "a badge can be revoked"),
        "watch_signing_keys": (REVERSIBLE, "it measures"),
        "sign_anew": (REVERSIBLE, "it has signed anew what stands"),
        "publish_status_lists": (REVERSIBLE, "the next list says otherwise"),
        "watch_waiting_badges": (REVERSIBLE, "it measures"),
        "queue_emails": (REVERSIBLE, "e-mails about what has been decided"),
        "derive_renamed": (REVERSIBLE, "it announces titles by a subject's new name"),
        "look_at_awards": (REVERSIBLE, "it opens a review, which a person decides"),
        "lapse_claims": (ENDS, "it ends the reservation of who has not claimed in time"),
        "notify_partners": (REVERSIBLE, "it sends what stands in the event log"),
        "notify_partners_again": (REVERSIBLE, "as notify_partners"),
        "send_webhooks": (REVERSIBLE, "partners stand what is sent twice"),
        "report_on_regulations": (REVERSIBLE, "it writes a report"),
        "compare_again": (REVERSIBLE, "as report_on_regulations"),
        "end_overdue_transfers": (ENDS, "it ends what no partner has decided in time"),
        "claim_store": (REVERSIBLE, "it looks whose the store is, and takes the first one that is empty"),
        "remove_orphans": (REMOVES, "files that no row names"),
        "retry_orphans": (REMOVES, "as remove_orphans"),
        "check_files": (REVERSIBLE, "it reads files that were set aside"),
    },
    "payments": {
        "close_checkouts": (REVERSIBLE, "pay pages of orders that were ended or paid before; others can be opened"),
        "ask_about_payments": (REVERSIBLE, "it asks the provider"),
        "find_payments": (REVERSIBLE, "it asks the provider"),
        "submit_refunds": (REVERSIBLE, "it pays what was decided before, and asks the provider first what it has paid"),
        "follow_refunds": (REVERSIBLE, "it asks the provider"),
        "compare_with_provider": (REVERSIBLE, "it asks the provider, and reports what differs"),
        "expire_orders": (ENDS, "it ends orders nobody has paid in time"),
        "end_repayments": (ENDS, "it ends what nobody has paid again in time"),
        "return_underpaid": (ENDS, "it gives money back to who has not paid the rest in time"),
        "forget_bodies": (REMOVES, "callbacks as they came"),
        "measure_what_waits": (REVERSIBLE, "it measures"),
    },
    "gateway": {
        "forget_ended_sign_ins": (REMOVES, "ended sign-ins"),
        "keep_signing_keys": (REVERSIBLE, "it adds keys"),
    },
}
"""And why. What a job concludes from its own rows and the time alone must wait for what the others may have said."""


def jobs_of(service: str) -> Jobs:
    return housekeeping() if service == "every service" else build(service, nowhere()).jobs


@pytest.mark.parametrize("service", ["every service", *NAMES])
def test_every_job_is_declared_with_its_effect(service: str) -> None:
    assert jobs_of(service).effects == {name: effect for name, (effect, _) in EFFECTS.get(service, {}).items()}
