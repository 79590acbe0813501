from sqlalchemy import select

from newservice.tables import Entry
from shared.testing.access import access_failures


async def test_every_operation_admits_whom_its_row_names_and_nobody_else(service) -> None:
    assert await access_failures(service) == []


async def test_an_entry_is_kept(editor, session) -> None:
    answer = await editor.post("/v1/newservice", json={"title": "A first entry"})
    assert answer.status_code == 201
    [kept] = await session.scalars(select(Entry))
    assert answer.json() == {"entry_id": str(kept.entry_id), "title": "A first entry"}


async def test_a_title_is_given_once(editor) -> None:
    await editor.post("/v1/newservice", json={"title": "A first entry"})
    answer = await editor.post("/v1/newservice", json={"title": "a first ENTRY"})
    assert (answer.status_code, answer.json()["code"]) == (409, "newservice_title_taken")
