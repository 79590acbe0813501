"""The pages in a real browser: accessible, without a script, on a telephone, on paper, in any script."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from playwright.async_api import Browser, Page, ViewportSize, expect

from credentials.adapters.pages import Pages
from credentials.adapters.pictures import Motif, svg
from credentials.domain.recorded_reports import RecordedReport
from openbadges.testing import NOW, Elsewhere, badge, changed, listed, sign, transcript, verify

from .accessible import keeps_nobody_out
from .strangers import BY_KEY, signed_by

pytestmark = pytest.mark.slow

ARABIC, LONG = "مقدمة في علم البيانات والإحصاء التطبيقي", "Donaudampfschifffahrtselektrizitäten" * 4
DESKTOP, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=360, height=740)
PICTURE = svg(Motif("Welding", "Other University", 15, 7, "Metal", is_award=False))
DOWNLOADS = {
    "page": "https://badges.example.ac.uk/verify/1",
    "json": "/credentials/1",
    "png": "/credentials/1.png",
    "svg": "/credentials/1.svg",
    "picture": "/image.svg",
}
PAGES = Pages()


def rich(**members: Any) -> dict:
    """Everything a page can show."""
    document = badge(awardedDate="2026-06-24T00:00:00Z", **members)
    document["credentialSubject"] |= {"creditsEarned": 15}
    document["credentialSubject"]["achievement"] |= {
        "humanCode": "7WE501",
        "alignment": [
            {
                "type": ["Alignment"],
                "targetName": name,
                "targetUrl": f"urn:x:{number}",
                "targetType": kind,
            }
            for number, (name, kind) in enumerate(
                [
                    ("FHEQ level 7", "ext:QualificationLevel"),
                    ("EQF level 7", "ext:QualificationLevel"),
                    ("weld metal", "ceasn:Competency"),
                    ("read drawings", "ceasn:Competency"),
                ]
            )
        ],
    }
    return document


async def drawn(state: str) -> str:
    """A page in one of its states."""
    if state == "upload":
        return PAGES.upload()
    if state == "refused":
        return PAGES.upload("This is not JSON in UTF-8.")
    if state == "missing":
        return PAGES.missing("document")
    report = RecordedReport.of(await verify(*_GIVEN[state]()))
    if state == "arabic":
        report = replace(report, document=changed(dict(report.document), _in_arabic))
    if state == "long":
        report = replace(report, document=changed(dict(report.document), _at_length))
    ours = state in {"valid", "superseded", "revoked", "expired"}
    return PAGES.verification(
        report,
        "superseded" if state == "superseded" else report.status.value,
        ours=ours,
        downloads=DOWNLOADS if ours else {},
    )


def _in_arabic(document: dict) -> None:
    document["credentialSubject"]["achievement"] |= {"name": ARABIC, "criteria": {"narrative": ARABIC}}
    document["issuer"]["name"] = "جامعة المثال"


def _at_length(document: dict) -> None:
    document["credentialSubject"]["achievement"] |= {"name": LONG, "humanCode": LONG}
    document["issuer"] |= {"name": LONG, "id": "did:web:" + LONG}


def whole() -> dict:
    named = {"type": "IdentityObject", "hashed": False, "identityType": "name", "identityHash": "Ada Lovelace"}
    document = transcript([sign(rich(**listed(1))), sign(badge(2, **listed(2)))])
    document["credentialSubject"]["identifier"] = [named]
    return sign(document | {"partial": True})


_GIVEN = {
    "valid": lambda: (sign(rich(**listed())),),
    "superseded": lambda: (sign(rich(**listed())),),
    "revoked": lambda: (sign(rich(**listed())), Elsewhere(7)),
    "expired": lambda: (sign(rich(validUntil="2026-08-01T00:00:00Z")),),
    "foreign": lambda: (sign(rich(**listed())),),
    "forged": lambda: (changed(sign(rich(**listed())), lambda d: d.update(name="Weaving")),),
    "unreadable": lambda: ({"type": "x"},),
    "key": lambda: (signed_by(BY_KEY, "Other University"),),
    "transcript": lambda: (whole(), Elsewhere(2)),
    "arabic": lambda: (sign(rich(**listed())),),
    "long": lambda: (sign(rich(**listed())),),
}
STATES = [*_GIVEN, "upload", "refused", "missing"]


async def shown(browser: Browser, state: str, viewport: ViewportSize, *, javascript: bool = True) -> Page:
    context = await browser.new_context(viewport=viewport, java_script_enabled=javascript)

    async def answer(route) -> None:
        if route.request.url.endswith(".svg"):
            await route.fulfill(body=PICTURE, content_type="image/svg+xml")
        else:
            await route.fulfill(body=await drawn(state), content_type="text/html; charset=utf-8")

    await context.route("**/*", answer)
    page = await context.new_page()
    await page.goto("https://verify.example/")
    return page


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("state", STATES)
async def test_nothing_keeps_anybody_out(browser, state, viewport) -> None:
    page = await shown(browser, state, viewport)
    await keeps_nobody_out(page)
    for control in await page.locator("button, input, textarea, p.links a").all():
        box = await control.bounding_box()
        assert box is None or box["height"] >= 24, "too small for a finger (WCAG 2.5.8)"
    await page.context.close()


@pytest.mark.parametrize("state", ["valid", "transcript", "upload"])
async def test_it_reads_the_same_without_a_script(browser, state) -> None:
    with_script = await shown(browser, state, DESKTOP)
    without = await shown(browser, state, DESKTOP, javascript=False)
    assert await without.inner_text("main") == await with_script.inner_text("main")
    await with_script.context.close()
    await without.context.close()


async def test_what_is_written_from_right_to_left_is_shown_so(browser) -> None:
    page = await shown(browser, "arabic", DESKTOP)
    heading = page.locator("h1")
    await expect(heading).to_have_text(ARABIC)
    assert await heading.evaluate("node => getComputedStyle(node).direction") == "rtl"
    await page.context.close()


async def test_it_can_be_printed(browser) -> None:
    page = await shown(browser, "valid", DESKTOP)
    await page.emulate_media(media="print")
    assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    paper = await page.pdf(format="A4")
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) <= 2
    await page.context.close()


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("valid", "genuine and stands"),
        ("superseded", "a higher award"),
        ("revoked", "must not be relied on"),
        ("expired", "its time has run out"),
        ("forged", "could not be confirmed"),
        ("transcript", "not everything it holds stands"),
    ],
)
async def test_the_verdict_is_shown_in_plain_words(browser, state, words) -> None:
    page = await shown(browser, state, PHONE)
    await expect(page.get_by_role("status")).to_contain_text(words)
    at = (NOW + timedelta()).isoformat()
    assert await page.locator("time").get_attribute("datetime") == at
    await page.context.close()


async def test_a_person_hands_in_a_text(browser) -> None:
    """Labels lead to their fields, and the form says where it goes."""
    page = await shown(browser, "upload", PHONE)
    await page.get_by_label("or its text").fill("{}")
    await expect(page.get_by_label("File", exact=True)).to_be_visible()
    assert await page.get_by_role("button", name="Check it").evaluate("node => node.form.action") == (
        "https://verify.example/verify"
    )
    await page.context.close()
