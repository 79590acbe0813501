from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}


async def keeps_nobody_out(page: Page) -> None:
    """Fails where the page breaks a rule of WCAG 2.2 AA that a program can check, or hangs over the edge."""
    results = await Axe().run(page, options=RULES)
    assert results.response["violations"] == [], results.generate_report()
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it hangs over the edge"
