"""A row that is not understood: others are shown, it is counted and named, and nothing that it says is logged."""

import logging
from dataclasses import dataclass
from uuid import UUID

import pytest

from shared import telemetry
from shared.ids import new_id
from shared.messaging.tables import SetAside
from shared.web import View, page_of, view_of
from shared.web.unreadable import UnreadableRecord


class CountView(View):
    failures: int
    job: str


@dataclass(frozen=True)
class Two:
    account_id: UUID
    email: str


def row(failures, key="1"):
    return SetAside(job="ada@example.org", row_key=key, failures=failures)


def counted():
    return telemetry.rows_unreadable.labels("list_things")._value.get()


@pytest.fixture
def operation():
    token = telemetry.operation.set("list_things")
    yield
    telemetry.operation.reset(token)


def test_a_page_has_all_others_and_says_how_many_it_has_not(operation, caplog):
    before = counted()
    with caplog.at_level(logging.ERROR):
        page = page_of([row(1), row("ada@example.org"), row(3)], CountView.model_validate, "next")
    assert ([one.failures for one in page.items], page.unreadable, page.next_cursor) == ([1, 3], 1, "next")
    assert counted() == before + 1
    [record] = caplog.records
    said = {name: getattr(record, name) for name in ("operation", "row", "error", "at")}
    assert said["operation"] == "list_things"
    assert "failures" in said["error"]
    assert "ada@example.org" not in f"{said}{record.getMessage()}{record.exc_info}"


def test_what_is_made_of_several_is_named_by_its_ids_and_nothing_else(operation, caplog):
    two = Two(new_id(), "ada@example.org")
    with caplog.at_level(logging.ERROR), pytest.raises(UnreadableRecord):
        view_of(two, lambda one: {}[one.email])
    [record] = caplog.records
    assert (record.row, record.error) == (f"account_id {two.account_id}", "KeyError")


def test_what_is_no_fault_of_the_row_is_not_taken_for_one(operation):
    with pytest.raises(RuntimeError):
        page_of([row(1)], _fail)


def _fail(_):
    raise RuntimeError("a fault of ours")
