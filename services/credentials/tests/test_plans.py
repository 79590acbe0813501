"""What lists, records and jobs read depends on the page, not on how much was ever awarded."""

from collections.abc import AsyncIterator, Callable
from unittest.mock import AsyncMock
from uuid import UUID

import pytest
from sqlalchemy import text, update

from credentials.exchange.queries.partners import due_deliveries
from credentials.tables.partners import WebhookDelivery
from embedded.postgres import Postgres
from shared.directory import Directory
from shared.testing.odd_rows import odd_row_failures
from shared.testing.plans import BUSY, Ask, Planned, Table, at, planned_service, someone, uuid_of
from shared.testing.services import BuildService

LEARNERS, WAITING = 8_000, 60
PARTNER = "partner-of-many"
SCOPE = {
    "credit_ids": [],
    "award_ids": [],
    "whole_record": True,
    "with_marks": True,
    "with_attempts": False,
    "with_name": True,
}


def last(value: object, otherwise: object = None) -> Callable[[int], object]:
    return lambda n: value if n >= LEARNERS - WAITING else otherwise


def own(kind: str) -> Callable[[int], UUID]:
    return lambda n: uuid_of(kind, n)


def partner(n: int) -> str:
    return PARTNER if n < BUSY else f"client_id-{n}"


TABLES = {
    "learners": Table({"name_version": 1, "unread": lambda n: n >= LEARNERS - WAITING}),
    "people": Table(
        {
            "display_name": "Ada Lovelace",
            "email": lambda n: f"person-{n}@example.org",
            "email_confirmed": True,
            "contact_version": 1,
            "told_version": last(None, 1),
        }
    ),
    "achievements": Table({"kind": "course", "skills": {"items": []}, "course_id": own("course_id")}),
    "credits": Table(
        {
            "source": "internal",
            "enrolment_id": own("enrolment_id"),
            "submission_id": own("submission_id"),
            "course_id": own("course_id"),
            "course_version_id": own("achievement_id"),
            "credits": 15,
            "level": 7,
            "mark": 60,
            "attempt_no": 1,
            "regulations_version": "mc-regs-2026.2",
            "learner_id": lambda n: uuid_of("learner_id", n // 3),
        }
    ),
    "badges": Table(
        {
            "credit_id": own("credit_id"),
            "list_number": lambda n: n // 1_000 + 1,
            "list_index": lambda n: n % 1_000,
            "document": {},
            "due": None,
            "revoked_at": lambda n: at(days=-9) if n % 100 == 99 else None,
            "issued_at": at(days=-10),
            "learner_id": lambda n: uuid_of("learner_id", n // 3),
        }
    ),
    "badge_places": Table(
        {
            "list_number": lambda n: n // 1_000 + 1,
            "list_index": lambda n: n % 1_000,
            "badge_id": own("badge_id"),
            "version": 1,
        }
    ),
    "status_lists": Table(
        {"number": lambda n: n + 2, "document": b"list", "signed_at": at(), "valid_until": at(days=30)}, rows=8
    ),
    "awards": Table(
        {
            "state": last("claimed", "conferred"),
            "looked_at": lambda n: n < LEARNERS - WAITING,
            "conferred_at": last(None, at(days=-10)),
            "certificate_number": last(None, None),
            "reserved_until": last(at(days=20), at(days=-20)),
            "level": "pgcert",
            "regulations_version": "mc-regs-2026.2",
            "credits": 60,
            "mean": "60",
        }
        | {"certificate_number": lambda n: None if n >= LEARNERS - WAITING else f"MC-{n}"}
    ),
    "allocations": Table({"award_id": own("award_id"), "credit_id": own("credit_id"), "level": "pgcert", "live": True}),
    "award_reviews": Table(
        {
            "award_id": own("award_id"),
            "decided_at": last(None, at(days=-1)),
            "decision": last(None, "rescind"),
            "reason_code": last(None, "misconduct"),
            "decided_by": last(None, uuid_of("regist", 1)),
            "outcome": last(None, {}),
        }
    ),
    "credit_holds": Table(
        {
            "credit_id": own("credit_id"),
            "reason_code": "refunded",
            "released_at": last(None, at(days=-1)),
            "release_reason": last(None, "goodwill"),
        }
    ),
    "revocations": Table(rows=0),
    "reinstatements": Table(rows=0),
    "recognitions": Table(
        {
            "state": last("submitted", "recognised"),
            "credits_claimed": 15,
            "level_claimed": 7,
            "submitted_at": at(days=-9),
            "decided_at": last(None, at(days=-1)),
            "decided_by": last(None, "registrar"),
            "reason_code": last(None, "equivalent"),
        }
    ),
    "disputes": Table({"opened_at": at(days=-9), "closed_at": at(days=-1)}),
    "misconduct_cases": Table({"opened_at": at(days=-9), "closed_at": at(days=-1)}),
    "suspensions": Table({"suspended": False}),
    "payments": Table({"settled_at": at(days=-9)}),
    "pins": Table({"regulations_version": "mc-regs-2026.2"}),
    "documents": Table(
        {
            "learner_id": lambda n: uuid_of("learner_id", n // 3),
            "kind": "certificate",
            "credit_id": own("credit_id"),
            "number": lambda n: f"MC-2026-{n:011}",
        }
    ),
    "editions": Table({"content": {}, "clr": {}, "signed_at": at(days=-1)}),
    "partners": Table({"scopes": lambda n: ["transcripts:read"] if n % 2 else []}, rows=200),
    "programmes": Table({"client_id": partner, "modules": {"items": []}, "ceiling_credits": 90}),
    "shares": Table({"client_id": partner, "scope": SCOPE, "expires_at": at(days=90), "redeemed_at": at(days=-1)}),
    "viewings": Table({"share_id": lambda n: uuid_of("share_id", 0 if n < BUSY else n)}),
    "transfers": Table(
        {
            "client_id": partner,
            "state": last("requested", "refused"),
            "decide_by": last(at(days=-1), at(days=-90)),
            "learner_id": lambda n: uuid_of("learner_id", 0 if n < BUSY else n),
        }
    ),
    "transfer_lines": Table({"state": "refused", "outcome": "refuse", "reason_code": "no_room"}),
    "webhook_endpoints": Table(
        {"client_id": lambda n: PARTNER if n < 10 else f"client_id-{n}", "url": "https://partner.example/hook"}
    ),
    "webhook_deliveries": Table(
        {
            "endpoint_id": lambda n: uuid_of("endpoint_id", 0 if n < BUSY else n),
            "state": "delivered",
            "settled_at": at(days=-1),
            "payload": "{}",
        }
    ),
    "webhook_positions": Table(rows=0),
    "signing_keys": Table(rows=0),
    "key_events": Table(rows=200),
    "regulation_reports": Table({"finished_at": at(days=-1)}, rows=200),
    "regulation_report_lines": Table(
        {
            "report_id": uuid_of("report_id", 0),
            "learner_id": own("learner_id"),
            "level": "pgcert",
            "gained": [],
            "lost": [],
        }
    ),
    "rebuilds": Table(rows=10),
    "subject_names": Table({"holders_due": lambda n: n < 3}),
    "due_derivations": Table(rows=WAITING),
    "notices": Table(rows=300),
    "offered_courses": Table(),
}


@pytest.fixture(scope="module")
async def planned(planned_server: Postgres, build_service: BuildService) -> AsyncIterator[Planned]:
    async with planned_service(build_service, planned_server, TABLES, rows=LEARNERS) as planned:
        yield planned


BUSIEST = uuid_of("learner_id", 0)
LEARNER, REGISTRAR, OPERATOR = (
    someone("learner", id=BUSIEST),
    someone("registrar", id=uuid_of("regist", 1)),
    someone("operator"),
)
READING = someone(client_id=PARTNER, scopes=("transcripts:read", "transfers:decide", "webhooks:manage"))

LISTS: dict[str, list[Ask]] = {
    "list_awards": [
        Ask("/v1/awards", REGISTRAR),
        Ask("/v1/awards?state=claimed", REGISTRAR),
        Ask("/v1/awards", LEARNER),
    ],
    "list_award_reviews": [
        Ask("/v1/award-reviews", REGISTRAR),
        Ask("/v1/award-reviews?waiting=true", REGISTRAR),
        Ask("/v1/award-reviews", LEARNER),
    ],
    "list_credit_holds": [Ask("/v1/credit-holds", REGISTRAR), Ask("/v1/credit-holds?open=false", REGISTRAR)],
    "list_recognitions": [
        Ask("/v1/recognitions", REGISTRAR),
        Ask("/v1/recognitions?state=submitted", REGISTRAR),
        Ask("/v1/recognitions", LEARNER),
    ],
    "list_recipients": [Ask("/v1/recipients", LEARNER)],
    "list_shares": [Ask("/v1/shares", LEARNER)],
    "list_share_views": [Ask(f"/v1/shares/{uuid_of('share_id', 0)}/views", LEARNER)],
    "list_shared_records": [Ask("/v1/shared-records", READING)],
    "list_transfers": [Ask("/v1/transfers", LEARNER), Ask("/v1/transfers", READING)],
    "list_webhook_endpoints": [Ask("/v1/webhook-endpoints", READING, full=False)],
    "list_webhook_deliveries": [
        Ask("/v1/webhook-deliveries", READING),
        Ask(f"/v1/webhook-deliveries?endpoint_id={uuid_of('endpoint_id', 0)}", READING),
        Ask("/v1/webhook-deliveries?state=failed", READING, full=False),
    ],
    "list_affected_learners": [
        Ask(f"/v1/regulation-reports/{uuid_of('report_id', 0)}/learners", REGISTRAR),
        Ask(f"/v1/regulation-reports/{uuid_of('report_id', 0)}/learners?level=pgdip", REGISTRAR, full=False),
    ],
    "list_signing_keys": [Ask("/v1/signing-keys", OPERATOR, full=False)],
    # Each record is derived anew from its facts, a page of learners at a time, and who differs (here: all) once more:
    # an operator's check, run by a script.
    "compare_credit_records": [Ask("/v1/credits/comparison", OPERATOR, full=False, statements=24 * 20)],
    "list_credits": [Ask("/v1/credits", LEARNER, full=False)],
    "list_badges": [Ask("/v1/badges", LEARNER, full=False)],
    "list_documents": [Ask("/v1/documents", LEARNER, full=False)],
    "list_award_options": [Ask("/v1/award-options", LEARNER, full=False)],
}

JOBS = {
    "read_people": 1,
    "read_confirmations": 1,
    "sign_badges": 1,
    "watch_signing_keys": 1,
    "sign_anew": 1,
    "publish_status_lists": 1,
    "watch_waiting_badges": 1,
    "queue_emails": 1,
    "derive_renamed": 3,
    "look_at_awards": 1,
    "lapse_claims": 1,
    "notify_partners": 1,
    "notify_partners_again": 1,
    "send_webhooks": 1,
    "report_on_regulations": 1,
    "compare_again": 1,
    "end_overdue_transfers": 1,
    "claim_store": 0,
    "remove_orphans": 0,
    "retry_orphans": 1,
    "check_files": 1,
}


async def test_a_list_reads_its_page(planned: Planned) -> None:
    wrong = await planned.lists(LISTS)
    assert not wrong, "\n".join(wrong)


async def test_a_job_reads_its_batches(planned: Planned) -> None:
    directory = AsyncMock()
    directory.read.return_value = []
    wrong = await planned.jobs({Directory: directory}, JOBS)
    assert not wrong, "\n".join(wrong)


async def test_what_is_due_at_an_address_costs_no_more_when_much_waits_there(planned: Planned) -> None:
    database = planned.tested.process.database
    async with planned.plans.reads() as reads, database.transaction() as session:
        one = uuid_of("endpoint_id", 0)
        await session.execute(
            update(WebhookDelivery).values(endpoint_id=one, state="pending", settled_at=None, due_at=database.clock())
        )
        await session.execute(text("analyze webhook_deliveries"))
        assert len(await due_deliveries(session, database.clock(), 20)) == 4
        await session.rollback()
    dear = [str(read) for read in reads if not read.query.lower().startswith("update") and read.rows > LEARNERS // 10]
    assert not dear, "\n".join(dear)


WHOLE = {
    "list_award_plans": "it is computed from all of a learner's credit, and none of that may be left out silently",
    "forecast_award_plans": "likewise",
}


async def test_one_odd_row_hides_no_other(planned: Planned) -> None:
    wrong = await odd_row_failures(planned, LISTS, WHOLE)
    assert not wrong, "\n".join(wrong)
