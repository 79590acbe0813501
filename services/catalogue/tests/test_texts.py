# ruff: noqa: RUF001 - letters that look alike are what it is about
"""Names, codes and words as people type them: what looks the same is the same, in whatever form it comes."""

import unicodedata

import pytest

from .writing import course, publish


async def subject(editor, award_name, number):
    content = {"slug": f"s-{number}", "name": "A subject", "award_name": award_name, "description": "About it."}
    return await editor.post("/v1/subjects", json=content)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Données", unicodedata.normalize("NFD", "Données")),
        ("Données", "DON\u200bNÉES"),
        ("Strategie der Straße", "STRATEGIE DER STRASSE"),
        ("ΣΊΣΥΦΟΣ", "σίσυφος"),
        ("Economics", "Ｅｃｏｎｏｍｉｃｓ"),
    ],
)
async def test_two_subjects_award_no_names_that_look_the_same(editor, first, second):
    assert (await subject(editor, first, 1)).status_code == 201
    refused = await subject(editor, second, 2)
    assert (refused.status_code, refused.json()["code"]) == (409, "award_name_taken")
    other = (await subject(editor, "Another", 3)).json()
    names = {"name": "A subject", "award_name": second}
    renamed = await editor.put(f"/v1/subjects/{other['subject_id']}/names", json=names)
    assert (renamed.status_code, renamed.json()["code"]) == (409, "award_name_taken")


@pytest.mark.parametrize(
    ("award_name", "code"),
    [
        ("\u200b", "invalid_request"),
        ("Interdisciplinary\u200b Studies", "reserved_award_name"),
        ("Science an\u200bd Art", "ambiguous_award_name"),
        ("Science ａｎｄ Art", "ambiguous_award_name"),
        ("Science \u202eand Art", "invalid_request"),
    ],
)
async def test_no_award_name_passes_a_rule_unseen(editor, award_name, code):
    refused = await subject(editor, award_name, 1)
    assert (refused.status_code, refused.json()["code"]) == (422, code)


async def test_a_code_and_a_family_are_one_however_they_are_typed(editor, anyone):
    await publish(editor, "one", code="7ds501", module_family="7ds501")
    await publish(editor, "two", code="7DS502", module_family="7Ds501")
    pages = [(await anyone.get(f"/v1/courses/{slug}")).json() for slug in ("one", "two")]
    assert [(one["code"], one["module_family"]) for one in pages] == [("7DS501", "7DS501"), ("7DS502", "7DS501")]
    taken = await editor.post("/v1/courses", json=course("three", code="7dS502"))
    assert (taken.status_code, taken.json()["code"]) == (409, "code_taken")


async def test_courses_are_found_and_ordered_without_regard_to_accents(editor, anyone):
    for number, title in enumerate(["Zebra", unicodedata.normalize("NFD", "Économie du savoir"), "Äpfel", "Dove"]):
        await publish(editor, f"course-{number}", title=title)
    titles = [one["title"] for one in (await anyone.get("/v1/courses")).json()["items"]]
    assert titles == ["Äpfel", "Dove", "Économie du savoir", "Zebra"]
    for typed in ("économie", "economie", "ÉCONOMIE", unicodedata.normalize("NFD", "économie")):
        found = (await anyone.get("/v1/courses", params={"q": typed})).json()
        assert [one["title"] for one in found["items"]] == ["Économie du savoir"]


async def test_a_slug_that_is_pasted_finds_its_course(editor, anyone):
    await publish(editor, "causal-inference")
    found = (await anyone.get("/v1/courses", params={"q": "causal-inference"})).json()
    assert found["total"] == 1
    assert (await anyone.get("/v1/courses", params={"q": "causal -inference"})).json()["total"] == 0
