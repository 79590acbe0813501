"""Documents in a real browser: accessible, whole without a script, on a telephone and on paper."""

import re

import pytest
from playwright.async_api import Browser, Page, ViewportSize

from credentials.adapters.fonts import Fonts
from credentials.adapters.paper import Paper
from credentials.domain.documents import DocumentKind

from .accessible import keeps_nobody_out
from .papers import ADDRESS, LATER, NAMES, NUMBER, view_model

pytestmark = pytest.mark.slow

PAPER = Paper(Fonts())
DESKTOP, PHONE = ViewportSize(width=1280, height=900), ViewportSize(width=360, height=740)
CHECK = {
    "verdict": "Superseded",
    "meaning": "A document with this number was issued.",
    "status": "superseded",
    "heading": "Award",
    "issuer": "University of Example",
    "number": NUMBER,
    "facts": [("Award", "PGCert in Data Science")],
    "version": 1,
    "newest": 2,
    "as_at": "23 November 2026, 17:00 UTC",
    "comparable": True,
    "asks_class": True,
    "same": False,
    "problem": None,
    "typed_name": "Ada Lovelace",
    "typed_class": "Merit",
}
PAGES = {
    "transcript": PAPER.page(view_model(DocumentKind.TRANSCRIPT)),
    "certificate": PAPER.page(view_model(DocumentKind.CERTIFICATE, NAMES["Arabic"])),
    "parchment": PAPER.page(view_model(DocumentKind.PARCHMENT, **LATER)),
    "long": PAPER.page(view_model(DocumentKind.PARCHMENT, "Wolfeschlegelsteinhausenbergerdorff" * 4)),
    "earlier": PAPER.page(view_model(DocumentKind.TRANSCRIPT, is_newest=False)),
    "check": PAPER.check_page(CHECK),
}


async def shown(browser: Browser, name: str, viewport: ViewportSize) -> Page:
    page = await (await browser.new_context(viewport=viewport)).new_page()
    await page.set_content(PAGES[name])
    return page


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", PAGES)
async def test_nothing_keeps_anybody_out(browser: Browser, name: str, viewport: ViewportSize) -> None:
    page = await shown(browser, name, viewport)
    await keeps_nobody_out(page)
    await page.context.close()


@pytest.mark.parametrize("name", ["transcript", "certificate", "parchment"])
async def test_it_prints_on_one_sheet(browser: Browser, name: str) -> None:
    page = await shown(browser, name, DESKTOP)
    paper = await page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
    await page.context.close()


async def test_a_name_from_right_to_left_runs_so(browser: Browser) -> None:
    page = await shown(browser, "certificate", PHONE)
    name = page.locator(".name span")
    assert await name.inner_text() == NAMES["Arabic"]
    assert await name.evaluate("node => getComputedStyle(node).direction") == "rtl"
    assert await page.get_by_role("img", name=ADDRESS).is_visible()
    await page.context.close()
