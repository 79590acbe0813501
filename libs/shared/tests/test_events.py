"""The contracts: names, golden bodies, and that data we do not know is ignored."""

import json
import re
from datetime import UTC, datetime

import pytest

from embedded.workspace import NAMES
from shared.events import registry
from shared.events.payments import PaymentConfirmed
from shared.ids import new_id
from shared.messaging.message import Unreadable, envelope, read

from . import golden

KINDS = sorted(registry().values(), key=lambda kind: kind.type)
SERVICES = {*NAMES}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
def test_an_old_body_stays_readable_and_means_the_same(kind):
    path = golden.path_of(kind)
    assert path.exists(), f"{kind.type} has no golden JSON: run python libs/shared/tests/golden.py"
    old = json.loads(path.read_text())
    again = json.loads(kind.model_validate(old).model_dump_json())
    assert {name: again[name] for name in old} == old


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
def test_an_event_is_named_service_noun_past_verb_version(kind):
    assert re.fullmatch(r"[a-z]+\.[a-z]+\.[a-z]+(-[a-z]+)*\.v\d+", kind.type)
    assert kind.type.split(".")[0] in SERVICES
    assert kind.consumers <= SERVICES - {kind.type.split(".")[0]}
    assert kind.subject in kind.model_fields
    assert kind.__doc__ or kind.model_fields


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.type)
def test_no_golden_body_is_without_its_event(kind):
    assert {path.stem for path in golden.FOLDER.glob("*.json")} == set(registry())


def test_an_envelope_is_a_cloudevent_and_reads_back():
    event = PaymentConfirmed.model_validate_json(golden.path_of(PaymentConfirmed).read_text())
    body = envelope(
        event,
        id=new_id(),
        time=datetime(2026, 11, 23, 12, tzinfo=UTC),
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        request_id="request-1",
        causation=None,
    )
    attributes = json.loads(body)
    assert attributes["specversion"] == "1.0"
    assert attributes["source"] == "/services/payments"
    assert attributes["time"] == "2026-11-23T12:00:00Z"
    assert attributes["subject"] == str(event.order_id)
    assert attributes["partitionkey"] == str(event.learner_id)
    assert all(re.fullmatch(r"[a-z0-9]{1,20}", name) for name in attributes)
    message = read(body.encode())
    assert message.event == event
    assert message.request_id == "request-1"


def test_fields_a_newer_producer_added_are_ignored():
    kind = registry()["enrolment.learner.registered.v1"]
    body = json.loads(golden.path_of(kind).read_text()) | {"added_later": 1}
    assert not hasattr(kind.model_validate(body), "added_later")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not json", "malformed"),
        (b"[]", "malformed"),
        (b"{}", "malformed"),
        (
            b'{"specversion":"0.3","id":"01890000-0000-7000-8000-000000000000","source":"/s","type":"t","data":{}}',
            "malformed",
        ),
        (b'{"specversion":"1.0","id":"x","source":"/s","type":"t","data":{}}', "malformed"),
        (
            b'{"specversion":"1.0","id":"01890000-0000-7000-8000-000000000000","source":"/s","type":"t","data":{}}',
            "unknown_type",
        ),
        (
            b'{"specversion":"1.0","id":"01890000-0000-7000-8000-000000000000","source":"/s",'
            b'"type":"enrolment.learner.registered.v1","data":{}}',
            "invalid_data",
        ),
    ],
)
def test_what_is_no_event_is_named_so_that_it_can_be_dead_lettered(body, reason):
    with pytest.raises(Unreadable) as unreadable:
        read(body)
    assert unreadable.value.reason == reason
