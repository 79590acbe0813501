"""What lists and jobs read depends on the page, not on how many have an account."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from embedded.postgres import Postgres
from gateway.app import build
from shared.service import Service
from shared.testing.odd_rows import odd_row_failures
from shared.testing.plans import BASE, Ask, Planned, Table, at, planned_service, someone, uuid_of

from .proxy_harness import gateway_settings

ACCOUNTS, ENDED = 30_000, 500

TABLES = {
    "accounts": Table({"email_key": lambda n: f"person-{n}@example.org"}),
    "account_roles": Table({"role": lambda n: "examiner" if n % 100 == 0 else "learner"}),
    "role_grants": Table(
        {
            # a few wait, or have expired, among many that are decided
            "account_id": lambda n: uuid_of("account_id", n if n % 100 == 0 else n % 300),
            "proposed_at": lambda n: BASE - timedelta(minutes=n),
            "outcome": lambda n: None if n % 100 == 0 else "confirmed",
            "decided_by": lambda n: None if n % 100 == 0 else uuid_of("operat", 2),
            "decided_at": lambda n: None if n % 100 == 0 else BASE,
            "roles": ["marker"],
        }
    ),
    "sign_ins": Table(
        {
            "expires_at": at(days=365),
            "ended_at": lambda n: at(days=-30) if n < ENDED else None,
            "end_reason": lambda n: "signed_out" if n < ENDED else None,
        }
    ),
    "partners": Table({"scopes": []}, rows=50),
    "partner_secrets": Table(rows=50),
    "signing_keys": Table(rows=0),
}


@pytest.fixture(scope="module")
async def planned(planned_server: Postgres) -> AsyncIterator[Planned]:
    def build_verified_by_the_tests_key(url: str) -> Service:
        # The gateway's own keys stand in the database, and would sign by the real time.
        return replace(build(gateway_settings(url)), verifier=None)

    async with planned_service(build_verified_by_the_tests_key, planned_server, TABLES, rows=ACCOUNTS) as planned:
        yield planned


OPERATOR = someone("operator", id=uuid_of("operat", 1))

LISTS = {
    "list_accounts": [
        Ask("/v1/accounts", OPERATOR),
        Ask("/v1/accounts?email=person-70@example.org", OPERATOR, full=False),
    ],
    "list_role_grants": [
        Ask("/v1/role-grants", OPERATOR),
        Ask("/v1/role-grants?waiting=true", OPERATOR),
        Ask(f"/v1/role-grants?account_id={uuid_of('account_id', 7)}", OPERATOR),
        Ask(f"/v1/role-grants?account_id={uuid_of('account_id', 100)}&waiting=true", OPERATOR, full=False),
    ],
    "list_partners": [Ask("/v1/partners", OPERATOR, full=False)],
    "read_own_account": [Ask("/v1/accounts/me", someone("learner", id=uuid_of("account_id", 7)), full=False)],
}

JOBS = {"forget_ended_sign_ins": 10, "keep_signing_keys": 1}


async def test_a_list_reads_its_page(planned: Planned) -> None:
    wrong = await planned.lists(LISTS)
    assert not wrong, "\n".join(wrong)


async def test_a_job_reads_its_batches(planned: Planned) -> None:
    wrong = await planned.jobs({}, JOBS)
    assert not wrong, "\n".join(wrong)


async def test_one_odd_row_hides_no_other(planned: Planned) -> None:
    wrong = await odd_row_failures(planned, LISTS)
    assert not wrong, "\n".join(wrong)
