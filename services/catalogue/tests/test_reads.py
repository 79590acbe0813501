"""What everybody reads: the listing, search, facets, prices at an instant, and bytes that need not be sent again."""

import asyncio
import json
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

import httpx
import pytest

from catalogue.api.shapes import CoursePage, CourseView, InstitutionView, SubjectView
from catalogue.domain import PriceText, price_at
from shared.ids import new_id
from shared.paging import encode
from shared.web import Page

from .writing import INSTITUTIONS, SUBJECTS, course, draft, open_references, publish


async def listed(client: httpx.AsyncClient, **query: Any) -> CoursePage:
    answer = await client.get("/v1/courses", params=query)
    assert answer.status_code == 200, answer.text
    return CoursePage.model_validate_json(answer.content, strict=True)


def slugs(page: CoursePage) -> list[str]:
    return [one.slug for one in page.items]


async def test_the_page_is_what_was_written(editor, anyone) -> None:
    made = await publish(editor)
    answer = await anyone.get("/v1/courses/causal-inference")
    view = CourseView.model_validate_json(answer.content, strict=True)
    written = course()
    assert json.loads(answer.content) == json.loads(view.model_dump_json())  # no field besides those declared
    assert str(view.course_version_id) == made["course_version_id"]
    for field in ("slug", "code", "title", "summary", "description", "credits", "weeks", "prerequisites"):
        assert getattr(view, field) == written[field]
    assert (view.subject.slug, view.institution.name) == ("data-science", "Northbridge University")
    assert [skill.model_dump() for skill in view.skills] == written["skills"]
    assert [unit.title for unit in view.units] == ["Potential outcomes"]
    assert view.price is not None
    assert view.price.model_dump(mode="json") == written["price"]
    assert "treatment there are two outcomes" not in answer.text  # study text is for those enrolled


async def test_a_card_holds_what_was_declared(editor, anyone) -> None:
    await publish(editor)
    answer = await anyone.get("/v1/courses")
    page = CoursePage.model_validate_json(answer.content)
    assert json.loads(answer.content) == json.loads(
        page.model_dump_json(exclude={"unreadable"})
    )  # the database builds it


async def test_drafts_are_not_listed(editor, anyone) -> None:
    await draft(editor)
    page = await listed(anyone)
    assert (page.items, page.total, page.facets.subjects) == ([], 0, [])


async def test_the_price_is_the_one_of_the_instant(editor, anyone, clock) -> None:
    made = await publish(editor)
    for month, amount in ((12, 59500), (11, 39500)):
        price = {"amount_minor": amount, "currency": "GBP", "valid_from": f"2026-{month}-30T00:00:00Z"}
        assert (await editor.post(f"/v1/courses/{made['course_id']}/prices", json=price)).status_code == 201

    async def now_and_next() -> list[int | None]:
        page = (await anyone.get("/v1/courses/causal-inference")).json()
        card = (await anyone.get("/v1/courses")).json()["items"][0]
        assert (page["price"], page["next_price"]) == (card["price"], card["next_price"])
        return [price and price["amount_minor"] for price in (page["price"], page["next_price"])]

    listed_ = (await editor.get(f"/v1/courses/{made['course_id']}/prices")).json()["items"]
    prices = [
        PriceText(price["amount_minor"], price["currency"], datetime.fromisoformat(price["valid_from"]))
        for price in listed_
    ]
    seen = []
    for seconds in (0, 561_599, 1, 86_400, 2_505_599, 1):  # about each beginning
        clock.advance(seconds=seconds)
        coming = [price for price in prices if price.valid_from > clock.at]
        expected = [price_at(prices, clock.at), min(coming, key=lambda price: price.valid_from, default=None)]
        assert await now_and_next() == [price and price.amount_minor for price in expected]
        seen.append(await now_and_next())
    assert seen == [[49500, 39500]] * 2 + [[39500, 59500]] * 3 + [[59500, None]]


async def test_courses_are_listed_by_title_page_after_page(editor, anyone) -> None:
    titles = ["beta", "Alpha", "gamma", "alpha", "Delta"]
    for n, title in enumerate(titles):
        await publish(editor, f"course-{n}", title=title)
    whole = await listed(anyone)
    assert [one.title.lower() for one in whole.items] == ["alpha", "alpha", "beta", "delta", "gamma"]
    assert whole.next_cursor is None

    pages, cursor = [], None
    while cursor is not None or not pages:
        page = await listed(anyone, limit=2, **({"cursor": cursor} if cursor else {}))
        pages.append(slugs(page))
        cursor = page.next_cursor
        assert page.total == 5

    assert [len(page) for page in pages] == [2, 2, 1]
    assert [*chain(*pages)] == slugs(whole)


async def test_a_full_last_page_has_no_cursor(editor, anyone) -> None:
    await publish(editor)
    assert (await listed(anyone, limit=1)).next_cursor is None


WORDS = {
    "in-title": {"title": "Photosynthesis"},
    "in-summary": {"summary": "All about photosynthesis."},
    "in-outcomes": {"outcomes": [{"code": "LO1", "text": "Explain photosynthesis."}]},
    "in-text": {
        "units": [{"position": 1, "title": "Leaves", "minutes": 10, "text": "Photosynthesis, again and again. " * 30}]
    },
    "nowhere": {},
}


@pytest.fixture
async def worded(editor: httpx.AsyncClient) -> None:
    for slug, change in WORDS.items():
        await publish(editor, slug, **change)


async def test_title_goes_before_summary_before_outcomes_before_text(worded, anyone) -> None:
    page = await listed(anyone, q="photosynthesis")
    assert slugs(page) == ["in-title", "in-summary", "in-outcomes", "in-text"]
    assert page.total == 4


async def test_search_pages_go_on_where_they_ended(worded, anyone) -> None:
    first = await listed(anyone, q="photosynthesis", limit=3)
    rest = await listed(anyone, q="photosynthesis", limit=3, cursor=first.next_cursor)
    assert (slugs(first), slugs(rest)) == (["in-title", "in-summary", "in-outcomes"], ["in-text"])
    assert rest.next_cursor is None


@pytest.mark.parametrize(
    ("q", "found"),
    [
        ("PHOTOSYNTHESIS explains", ["in-outcomes"]),
        ('"explain photosynthesis"', ["in-outcomes"]),
        ("photosynthesis -leaves -explain", ["in-title", "in-summary"]),
        ("C-in-title", ["in-title"]),
        ("causal", ["in-outcomes", "in-summary", "in-text", "nowhere"]),
        ("no such words", []),
        ("the", []),
        ("'; drop table courses; --", []),
        ('"unclosed & | ! ( :*', []),
        ("%", []),
    ],
)
async def test_words_are_searched_as_people_write_them(worded, anyone, q, found) -> None:
    assert sorted(slugs(await listed(anyone, q=q))) == sorted(found)


async def test_no_words_means_everything(worded, anyone) -> None:
    assert (await listed(anyone, q=" ")).total == 5


@pytest.fixture
async def spread(editor: httpx.AsyncClient) -> None:
    places = [
        ("law", "eastmere"),
        ("law", "northbridge"),
        ("management", "eastmere"),
        ("data-science", "eastmere"),
        ("data-science", "northbridge"),
        ("data-science", "northbridge"),
    ]
    for n, (subject, institution) in enumerate(places):
        await publish(editor, f"course-{n}", subject=subject, institution=institution)


def counts(values: Any) -> dict[str, int]:
    return {value.slug: value.count for value in values}


async def test_facets_count_by_subject_and_institution(spread, anyone) -> None:
    page = await listed(anyone, limit=1)
    assert counts(page.facets.subjects) == {"data-science": 3, "law": 2, "management": 1}
    assert counts(page.facets.institutions) == {"eastmere": 3, "northbridge": 3}
    assert page.facets.subjects[0].name == "Data Science"


async def test_a_facet_counts_what_the_other_filters_leave(spread, anyone) -> None:
    page = await listed(anyone, institution="eastmere", subject="law")
    assert (page.total, slugs(page)) == (1, ["course-0"])
    assert counts(page.facets.subjects) == {"law": 1, "management": 1, "data-science": 1}
    assert counts(page.facets.institutions) == {"eastmere": 1, "northbridge": 1}


async def test_several_values_of_a_filter_add_up(spread, anyone) -> None:
    page = await listed(anyone, subject=["law", "management"])
    assert page.total == 3
    assert counts(page.facets.institutions) == {"eastmere": 2, "northbridge": 1}


async def test_filters_narrow_a_search(spread, anyone) -> None:
    page = await listed(anyone, q="causal", subject="law", level=7)
    assert page.total == 2
    assert (await listed(anyone, q="causal", subject="law", level=6)).total == 0


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"subject": "Law"},
        {"level": 9},
        {"q": "x" * 201},
        {"q": "nul\x00"},
        {"cursor": "x" * 2000},
    ],
)
async def test_a_query_that_cannot_be_is_refused(anyone, query) -> None:
    answer = await anyone.get("/v1/courses", params=query)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


@pytest.mark.parametrize(
    "cursor",
    [
        "nonsense",
        "é",
        encode([1.0, UUID(int=1)]),
        encode(["a"]),
        encode([UUID(int=1), "a"]),
        encode(["nul\x00", UUID(int=1)]),
        encode(["half \ud800", UUID(int=1)]),
        encode([["a"], UUID(int=1)]),
    ],
)
async def test_a_cursor_of_another_query_is_refused(anyone, cursor) -> None:
    answer = await anyone.get("/v1/courses", params={"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize("position", [["a", new_id()], [float("inf"), new_id()], [10**400, new_id()]])
async def test_a_cursor_of_the_list_is_none_of_a_search(anyone, position) -> None:
    answer = await anyone.get("/v1/courses", params={"q": "x", "cursor": encode(position)})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_cursor")


@pytest.mark.parametrize("slug", ["missing", "%00", "A", "a%2Fb"])
async def test_an_unknown_course_is_refused(anyone, slug) -> None:
    assert (await anyone.get(f"/v1/courses/{slug}")).status_code in {404, 422}


@pytest.mark.parametrize("path", ["/v1/courses", "/v1/courses/causal-inference", "/v1/subjects", "/v1/institutions"])
async def test_what_the_client_has_already_is_not_sent_again(editor, anyone, path) -> None:
    await publish(editor)
    first = await anyone.get(path)
    assert first.headers["cache-control"].startswith("public")
    again = await anyone.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await anyone.get(path, headers={"If-None-Match": '"other"'})
    assert (other.status_code, other.content) == (200, first.content)


async def test_subjects_and_institutions_are_listed_page_by_page(editor, anyone) -> None:
    first = Page[SubjectView].model_validate((await anyone.get("/v1/subjects", params={"limit": 2})).json())
    rest = await anyone.get("/v1/subjects", params={"limit": 2, "cursor": first.next_cursor})
    second = Page[SubjectView].model_validate(rest.json())
    assert [one.slug for one in [*first.items, *second.items]] == sorted(SUBJECTS)
    whole = Page[InstitutionView].model_validate((await anyone.get("/v1/institutions")).json())
    assert [one.slug for one in whole.items] == sorted(INSTITUTIONS)


# Races


async def test_of_two_publications_at_once_one_has_effect(live) -> None:
    async with live.client("catalogue_editor") as editor:
        await open_references(editor)
        written = await draft(editor)
        path = f"/v1/courses/{written['course_id']}/publication"
        answers = await asyncio.gather(*(editor.post(path) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    assert {answer.json().get("code") for answer in answers} == {None, "no_draft"}


async def test_of_two_courses_of_one_slug_at_once_one_is_made(live) -> None:
    async with live.client("catalogue_editor") as editor:
        await open_references(editor)
        content = course()
        answers = await asyncio.gather(*(editor.post("/v1/courses", json=content) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert {answer.json().get("code") for answer in answers} == {None, "slug_taken"}


@pytest.mark.parametrize(
    "position", [["nul\x00"], ["half \ud800"], [5], [None], [new_id()], [{"a": 1}], ["a", "b"], []]
)
async def test_a_cursor_that_does_not_fit_is_refused(editor, anyone, position) -> None:
    for path in ("/v1/subjects", "/v1/institutions"):
        answer = await anyone.get(path, params={"cursor": encode(position)})
        assert answer.status_code in {200, 400}, answer.text
        if answer.status_code == 400:
            assert answer.json()["code"] == "bad_cursor"


async def test_every_line_of_an_outcome_and_a_skill_is_found(editor, anyone) -> None:
    """The texts themselves are indexed: in JSON a word at a line's beginning would be another word."""
    outcomes = [{"code": "LO1", "text": 'A first line\nzymurgy\tquokka, "ocelot" and C:\\narwhal'}]
    await publish(
        editor,
        outcomes=outcomes,
        skills=[{"name": "Wombat\nhusbandry", "framework": "ESCO", "url": "https://x.example"}],
    )
    for word in ("zymurgy", "quokka", "ocelot", "narwhal", "wombat", "husbandry"):
        assert (await listed(anyone, q=word)).total == 1, word
    assert (await listed(anyone, q="nzymurgy")).total == 0
