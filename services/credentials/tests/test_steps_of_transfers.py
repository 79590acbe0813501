"""What is asked at every step of a transfer: holds, the partner, and the time."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from credentials.domain import policies
from credentials.domain.policies import years_after
from credentials.exchange.domain.sharing import ExpiryOutOfBounds, expiry
from credentials.exchange.domain.transfers import AcceptanceOutOfBounds, check_acceptance
from shared.events.gateway import PartnerClosed
from shared.ids import new_id

from .announcements import consume
from .degrees import act, decision, programme, request
from .holds import case_of, suspension_of
from .shares import P, know

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def learner(applicant):
    return applicant


@pytest.mark.parametrize("trouble", [case_of, suspension_of])
async def test_nothing_is_accepted_or_completed_while_something_is_open(
    service,
    session,
    clock,
    learner,
    trouble,
) -> None:
    """However it began: what was free when it was asked for may be in question when it is decided, and at the end."""
    first = trouble(learner)
    again = case_of(learner) if trouble is case_of else suspension_of(learner, sequence=4)
    asked = (await request(service, learner, "DS01", "DS02")).json()
    assert asked["on_hold"] is False
    accept = decision(learner, DS01="accept", DS02="refuse")
    path = asked["transfer_id"]
    await consume(session, first[0])
    held = await act(service, path, "decision", accept)
    assert (held.status_code, held.json()["code"]) == (409, "on_hold")
    async with service.client(client_id=P, scopes=("transfers:decide",)) as partner:
        assert (await partner.get(f"/v1/transfers/{path}")).json()["on_hold"] is True
        assert [one["on_hold"] for one in (await partner.get("/v1/transfers")).json()["items"]] == [True]
    await consume(session, first[1])
    assert (await act(service, path, "decision", accept)).json()["on_hold"] is False
    await consume(session, again[0])
    held = await act(service, path, "completion")
    assert (held.status_code, held.json()["code"]) == (409, "on_hold")
    await consume(session, again[1])
    assert (await act(service, path, "completion")).json()["state"] == "completed"


async def test_what_is_on_hold_can_be_refused_and_returned(service, session, clock, learner) -> None:
    """That takes no credit from anybody; and a refusal of all needs no end."""
    asked = (await request(service, learner, "DS01")).json()["transfer_id"]
    await act(service, asked, "decision", decision(learner, DS01="accept"))
    await consume(session, *case_of(learner), suspension_of(learner)[0])
    returned = await act(service, asked, "return", {"reason_code": "left_programme"})
    assert (returned.json()["state"], returned.json()["on_hold"]) == ("returned", False)
    await consume(session, suspension_of(learner)[1])
    asked = (await request(service, learner, "DS01")).json()["transfer_id"]
    await consume(session, case_of(learner)[0])
    refusal = {"decisions": decision(learner, DS01="refuse")["decisions"]}
    refused = await act(service, asked, "decision", refusal)
    assert (refused.json()["state"], refused.json()["accepted_until"]) == ("refused", None)


async def test_credit_is_accepted_until_some_day(service, session, clock, learner) -> None:
    asked = (await request(service, learner, "DS01")).json()["transfer_id"]
    endless = {"decisions": decision(learner, DS01="accept")["decisions"]}
    refused = await act(service, asked, "decision", endless)
    assert (refused.status_code, refused.json()["code"]) == (422, "acceptance_out_of_bounds")


async def test_an_acceptance_that_has_ended_is_not_completed(service, session, clock, learner) -> None:
    """Though the job that gives the credit back has not come to it."""
    asked = (await request(service, learner, "DS01")).json()["transfer_id"]
    await act(service, asked, "decision", decision(learner, until="2027-06-01T00:00:00Z", DS01="accept"))
    clock.at = datetime(2027, 6, 1, tzinfo=UTC)
    late = await act(service, asked, "completion")
    assert (late.status_code, late.json()["code"]) == (409, "not_accepted")


async def test_a_partner_that_may_not_read_or_was_closed_is_asked_for_nothing(
    service,
    session,
    clock,
    learner,
) -> None:
    for client_id, scopes in (("blind", ("transfers:decide",)), ("mute", ("transcripts:read",))):
        await know(session, client_id, scopes=scopes)
        await consume(session, made := programme(programme_id=new_id(), client_id=client_id))
        refused = await request(service, learner, "DS01", programme_id=str(made.programme_id))
        assert (refused.status_code, refused.json()["code"]) == (409, "programme_closed")
    await consume(session, PartnerClosed(client_id=P, closed_at=clock()))
    refused = await request(service, learner, "DS01")
    assert (refused.status_code, refused.json()["code"]) == (409, "programme_closed")


def test_years_are_years_whatever_days_they_have() -> None:
    """To the same day five, or two, years on, every day of thirteen years, and not a day longer."""
    policy = policies.in_force(NOW)
    days = [NOW + timedelta(days=n) for n in range(13 * 366)]
    for at in days:
        until = years_after(at, 5)
        assert check_acceptance(until, at, policy.transfers) == until
        with pytest.raises(AcceptanceOutOfBounds):
            check_acceptance(until + timedelta(days=1), at, policy.transfers)
        length = (years_after(at, 2) - at).days
        assert expiry(at, length, policy.sharing) == years_after(at, 2)
        with pytest.raises(ExpiryOutOfBounds):
            expiry(at, length + 1, policy.sharing)
    assert all(one < other or one.date() == other.date() for one, other in pairwise(years_after(at, 5) for at in days))
    assert years_after(datetime(2028, 2, 29, tzinfo=UTC), 5) == datetime(2033, 3, 1, tzinfo=UTC)
