"""The pages people see, in a real browser: the pay page and the verification page, on a desktop and on a phone."""

import re
import secrets

import pytest
from playwright.async_api import expect

from embedded import demo
from embedded.journey import Learner, Name, connected

pytestmark = pytest.mark.slow

DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}
NAME = Name("Ada", "Lovelace")


async def _pay_page(base_url: str) -> tuple[str, dict]:
    """The address of a fresh pay page, and the order it is for."""
    async with connected(base_url) as client:
        learner = Learner(client)
        email = f"{secrets.token_hex(6)}@learner.example"
        password = secrets.token_urlsafe(12)
        await learner.open_account(email, password)
        await learner.register(NAME, email)
        course = (await learner.ask("GET", "/v1/courses", limit=1))["items"][0]
        order = await learner.order([course["course_id"]])
        checkout = await learner.check_out(order, NAME, email)
        return checkout["pay_url"], {"learner": (email, password), **order}


async def _fits(page) -> None:
    """Nothing hangs over the edge, and everything one can press is large enough for a finger (WCAG 2.5.8)."""
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for control in await page.locator("button, input:not([type=hidden]), a.button").all():
        box = await control.bounding_box()
        if box is not None:
            assert box["height"] >= 24


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
async def test_a_person_pays_by_clicking_through_the_pay_page(embedded_platform, browser, viewport, tmp_path):
    url, order = await _pay_page(embedded_platform.url)
    page = await browser.new_page(viewport=viewport)
    await page.goto(url)
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await _fits(page)
    await page.screenshot(path=tmp_path / "pay.png", full_page=True)
    assert (tmp_path / "pay.png").stat().st_size > 5_000
    await page.get_by_role("button", name=re.compile(r"Pay £495\.00")).click()
    await expect(page.get_by_text(re.compile("paid|success|thank", re.IGNORECASE)).first).to_be_visible()
    await _fits(page)
    await page.close()
    async with connected(embedded_platform.url) as client:
        learner = Learner(client)
        await learner.sign_in(*order["learner"])
        enrolments = await learner.enrolments_of(order["order_id"])
    assert [one["status"] for one in enrolments] == ["active"]


@pytest.fixture(scope="module")
async def badge_address(embedded_platform) -> str:
    award = await demo.narrate(embedded_platform.url, embedded_platform.deployment.folder, {})
    return award["verification_url"]


@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("javascript", [True, False], ids=["with-js", "without-js"])
async def test_anybody_reads_what_a_badge_says_and_that_it_is_valid(
    embedded_platform, badge_address, browser, viewport, javascript, tmp_path
):
    context = await browser.new_context(viewport=viewport, java_script_enabled=javascript)
    page = await context.new_page()
    answer = await page.goto(badge_address)
    assert answer is not None
    assert answer.status == 200
    await expect(page.get_by_role("heading", level=1)).to_be_visible()
    await expect(page.get_by_text("PGCert in Data Science with Management").first).to_be_visible()
    await expect(page.get_by_text(re.compile("valid", re.IGNORECASE)).first).to_be_visible()
    if javascript:
        await _fits(page)
    await page.screenshot(path=tmp_path / "verify.png", full_page=True)
    assert (tmp_path / "verify.png").stat().st_size > 5_000
    await context.close()
