"""Documents in a real browser: accessible, whole without a script, on a telephone and on paper."""

import re
import shutil
from collections.abc import AsyncIterator

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright

from credentials.adapters.fonts import Fonts
from credentials.adapters.paper import Paper
from credentials.domain.documents import Kind

from .test_documents_paper import ADDRESS, LATER, NAMES, NUMBER, face

pytestmark = pytest.mark.slow

PAPER = Paper(Fonts())
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}
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
    "sha256": "0" * 64,
}
PAGES = {
    "transcript": PAPER.page(face(Kind.TRANSCRIPT)),
    "certificate": PAPER.page(face(Kind.CERTIFICATE, NAMES["Arabic"])),
    "parchment": PAPER.page(face(Kind.PARCHMENT, **LATER)),
    "long": PAPER.page(face(Kind.PARCHMENT, "Wolfeschlegelsteinhausenbergerdorff" * 4)),
    "earlier": PAPER.page(face(Kind.TRANSCRIPT, is_newest=False)),
    "check": PAPER.check_page(CHECK),
}


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert chromium, "these tests need Chromium: apt-get install chromium"
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield browser
        await browser.close()


async def shown(browser: Browser, name: str, viewport: dict) -> Page:
    page = await (await browser.new_context(viewport=viewport)).new_page()
    await page.set_content(PAGES[name])
    return page


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("name", PAGES)
async def test_nothing_keeps_anybody_out(browser: Browser, name: str, viewport: dict) -> None:
    page = await shown(browser, name, viewport)
    results = await Axe().run(page, options=RULES)
    assert results.response["violations"] == [], results.generate_report()
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it hangs over the edge"
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
