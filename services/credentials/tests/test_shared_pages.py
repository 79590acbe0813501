"""What a link opens, in a real browser: accessible, on a telephone, without a script, each badge led to its check."""

from datetime import UTC, datetime

import pytest
from playwright.async_api import Browser, Page, ViewportSize

from credentials.exchange.adapters.shared_pages import SharedPages
from openbadges.signable import instant

from .accessible import keeps_nobody_out

pytestmark = pytest.mark.slow

PAGES = SharedPages()
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOST = "https://badges.example.ac.uk"
LONG, ARABIC = "Donaudampfschifffahrtselektrizitäten" * 4, "مقدمة في علم البيانات والإحصاء التطبيقي"
DESKTOP, TABLET, PHONE = (ViewportSize(width=width, height=900) for width in (1280, 600, 360))


def credit(n: int, title: str, *, checked: bool = True, **more: object) -> dict:
    return {
        "course_title": title,
        "course_code": f"7DS50{n}",
        "subject": "Data Science",
        "credits": 15,
        "level": {"framework": "FHEQ", "level": 7},
        "status": "ratified",
        "verification_url": f"{HOST}/verify/{n}" if checked else None,
        **more,
    }


def award(title: str, *, checked: bool = True, **more: object) -> dict:
    return {
        "title": title,
        "conferred_at": instant(AT),
        "status": "conferred",
        "under_review_since": "2026-11-01T09:00:00Z",
        "verification_url": f"{HOST}/verify/award" if checked else None,
        **more,
    }


def record(credits_: list[dict], awards: list[dict], name: str | None = None, purpose: str = "Admission") -> str:
    document = {
        "issuer": {"name": "University of Example"},
        "holder": {"id": "urn:uuid:1"} | ({} if name is None else {"name": name}),
        "as_at": instant(AT),
        "expires_at": instant(AT),
        "purpose": purpose,
        "credits": credits_,
        "awards": awards,
    }
    return PAGES.record(document, "5f2b0c4e8d1a7f36" * 4)


def gate(*, asks_pin: bool, problem: str | None = None, tries_left: int | None = None) -> str:
    return PAGES.gate(
        purpose="Application for a data post",
        expires_at=AT,
        asks_pin=asks_pin,
        problem=problem,
        tries_left=tries_left,
    )


STATES = {
    "whole": record(
        [
            credit(1, "Applied Machine Learning", mark="68", attempt=1),
            credit(2, "Statistics", mark="71", attempt=2, status="revoked", checked=False),
            credit(3, "Recognised from Elsewhere", mark=None, attempt=None, checked=False),
        ],
        [award("PGCert in Data Science", classification="Merit"), award("An Older Award", checked=False)],
        name="Ada Lovelace",
    ),
    "selection": record([credit(1, "Applied Machine Learning")], []),
    "award": record([], [award("PGCert in Data Science")]),
    "long": record([credit(1, LONG, mark="68")], [award(LONG)], name=LONG, purpose=LONG),
    "arabic": record([credit(1, ARABIC)], [], name=ARABIC, purpose=ARABIC),
    "gate": gate(asks_pin=False),
    "pin": gate(asks_pin=True, problem="this is not the PIN of this link", tries_left=4),
    "ended": PAGES.ended(),
}


async def shown(browser: Browser, state: str, viewport: ViewportSize) -> Page:
    page = await (await browser.new_context(viewport=viewport)).new_page()
    await page.set_content(STATES[state])
    return page


@pytest.mark.parametrize("viewport", [DESKTOP, TABLET, PHONE], ids=["desktop", "tablet", "phone"])
@pytest.mark.parametrize("state", STATES)
async def test_nothing_keeps_anybody_out(browser: Browser, state: str, viewport: ViewportSize) -> None:
    page = await shown(browser, state, viewport)
    await keeps_nobody_out(page)
    for table in await page.locator("table").all():
        assert await table.evaluate("node => node.scrollWidth <= node.parentElement.clientWidth"), "out of its card"
    for control in await page.locator("button, input, a").all():
        box = await control.bounding_box()
        assert box is None or box["height"] >= 24, "too small for a finger (WCAG 2.5.8)"
    await page.context.close()


@pytest.mark.parametrize("viewport", [DESKTOP, TABLET, PHONE], ids=["desktop", "tablet", "phone"])
async def test_each_badge_leads_to_its_own_check(browser: Browser, viewport: ViewportSize) -> None:
    page = await shown(browser, "whole", viewport)
    links = {
        await link.get_attribute("aria-label"): await link.get_attribute("href")
        for link in await page.get_by_role("link").all()
    }
    assert links == {
        "Check it: PGCert in Data Science": f"{HOST}/verify/award",
        "Check it: Applied Machine Learning": f"{HOST}/verify/1",
    }
    await page.context.close()


async def test_no_table_is_lost_on_a_telephone(browser: Browser) -> None:
    """The head of a table is out of sight there: every cell says what it is."""
    page = await shown(browser, "whole", PHONE)
    for cell in await page.locator("td").all():
        assert await cell.get_attribute("data-label")
    await page.context.close()
