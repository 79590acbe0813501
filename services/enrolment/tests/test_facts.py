"""Facts are what the events say: of each event the fields this service needs, under the event's own names."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import BaseModel

from enrolment.adapters.stored_facts import digest, kind_of, read
from enrolment.domain import facts
from enrolment.handlers import DECIDING, RECORDED
from shared.events.payments import PaymentConfirmed
from shared.ids import new_id

GOLDEN = Path(__file__).parents[3] / "libs/shared/tests/golden"

EVENTS = [PaymentConfirmed, *DECIDING, *RECORDED]
AT = datetime(2026, 11, 24, tzinfo=UTC)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_a_fact_says_what_its_event_says(kind):
    event = kind.model_validate_json((GOLDEN / f"{kind.type}.json").read_text())
    fact_id, subject = new_id(), UUID(event.aggregate_id)
    fact = read(kind.type, fact_id, subject, AT, event.model_dump(mode="json"))
    assert fact is not None
    assert type(fact) is getattr(facts, kind.__name__)
    assert (fact.fact_id, fact.subject, fact.at) == (fact_id, subject, AT)
    for name in {field.name for field in dataclasses.fields(fact)} - {"fact_id", "subject", "at"}:
        said = getattr(event, name)
        if isinstance(said, tuple) and isinstance(said[0], BaseModel):
            for one, part in zip(said, getattr(fact, name), strict=True):
                assert one.model_dump().items() >= dataclasses.asdict(part).items()
        else:
            assert getattr(fact, name) == said


def test_every_fact_is_stored_under_a_name_of_its_own():
    concrete = {
        kind
        for kind in vars(facts).values()
        if isinstance(kind, type) and issubclass(kind, facts.Fact) and not kind.__subclasses__()
    }
    names = {kind_of(kind) for kind in concrete}
    assert names == {kind.type for kind in EVENTS} | set(facts.DECISIONS)
    assert len(names) == len(concrete)


def test_what_a_later_release_stores_is_not_read():
    assert read("later.release.said.v1", new_id(), new_id(), AT, {}) is None


def test_a_fact_has_the_same_id_whatever_the_order_of_what_it_says():
    subject = new_id()
    assert digest("a", subject, {"x": 1, "y": 2}) == digest("a", subject, {"y": 2, "x": 1})
    assert len({digest("a", subject, {}), digest("b", subject, {}), digest("a", new_id(), {})}) == 3
