"""The sandbox's pay page, as a person and a screen reader meet it."""

from html.parser import HTMLParser

from .sandbox_harness import FILLED


class Page(HTMLParser):
    """What a screen reader needs of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.tags if tag in tags]


async def test_a_person_pays_and_is_led_back(harness):
    session_id = await harness.open()
    page = await harness.browser.get(f"/pay/{session_id}")
    assert page.status_code == 200
    assert "Pay £1,090.00" in page.text
    assert "Inference &lt;script&gt;" in page.text
    assert "script-src" not in page.headers["content-security-policy"]
    done = await harness.browser.post(f"/pay/{session_id}", data=FILLED)
    assert (done.status_code, done.url.path) == (200, f"/pay/{session_id}/done")
    assert "Payment received" in done.text
    assert "the money goes back" in done.text, "the order may have been cancelled while the page stood open"
    assert 'href="https://learn.example/back?order=1&amp;payment=paid"' in done.text
    await harness.sandbox.run_due()
    assert harness.notified() == ["initiated", "processed"]
    assert (await harness.browser.get(f"/pay/{session_id}")).url.path.endswith("/done")
    assert (await harness.browser.post(f"/pay/{session_id}", data=FILLED)).url.path.endswith("/done")
    assert len(list(harness.sandbox.books.all("payment"))) == 1


async def test_a_card_that_is_declined_is_declined_before_the_payers_eyes(harness):
    session_id = await harness.open()
    page = await harness.browser.post(f"/pay/{session_id}", data=FILLED | {"outcome": "SANDBOX_TO_CANCEL_STATUS"})
    assert "The payment was declined" in page.text
    assert "Payment received" not in page.text
    assert 'href="https://learn.example/back?order=1&amp;payment=declined"' in page.text
    await harness.sandbox.run_due()
    assert harness.notified() == ["initiated", "cancelled"]


async def test_a_card_may_be_declined_and_charged_after_all(harness):
    session_id = await harness.open()
    outcome = {"outcome": "SANDBOX_CANCELLED_BACK_TO_PROCESS_STATUS"}
    page = await harness.browser.post(f"/pay/{session_id}", data=FILLED | outcome)
    assert "payment=declined" in page.text
    for _ in range(4):
        await harness.later(1)
    assert harness.notified() == ["initiated", "cancelled", "initiated", "processed", "guaranteed", "delivered"]


async def test_a_bank_transfer_is_on_its_way_until_the_money_is_there(harness):
    session_id = await harness.open()
    await harness.pay(session_id, method="bank_transfer")
    page = await harness.browser.get(f"/pay/{session_id}/done")
    assert "Your payment is on its way" in page.text
    assert "payment=pending" in page.text
    await harness.later(1)
    assert "payment=paid" in (await harness.browser.get(f"/pay/{session_id}/done")).text


async def test_a_person_cancels_and_may_still_pay(harness):
    session_id = await harness.open()
    page = await harness.browser.post(f"/pay/{session_id}", data={"action": "cancel"})
    assert "You cancelled the payment" in page.text
    assert "payment=cancelled" in page.text
    assert (await harness.browser.get(f"/pay/{session_id}")).status_code == 200
    assert harness.notified() == []


async def test_every_field_has_its_label_and_every_mistake_its_words(harness):
    session_id = await harness.open()
    wrong = {**FILLED, "first_name": "", "card_number": "12", "expiry": "13/30", "security_code": "x"}
    answer = await harness.browser.post(f"/pay/{session_id}", data=wrong)
    assert answer.status_code == 422
    page = Page(answer.text)
    labels = {label["for"] for label in page.all("label")}
    ids = {attributes.get("id") for _, attributes in page.tags}
    fields = page.all("input", "select")
    assert {one["id"] for one in fields} == labels
    for one in fields:
        assert set((one.get("aria-describedby") or "").split()) <= ids
    assert {one["id"] for one in fields if one.get("aria-invalid")} == {
        "first_name",
        "card_number",
        "expiry",
        "security_code",
    }
    assert {link["href"] for link in page.all("a")} == {"#first_name", "#card_number", "#expiry", "#security_code"}
    assert page.all("html")[0]["lang"] == "en-GB"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert harness.notified() == []


async def test_a_return_address_that_is_no_web_address_is_no_link(harness):
    session_id = await harness.open(options={"form": {"return_url": "javascript:alert(1)"}})
    page = await harness.browser.post(f"/pay/{session_id}", data={"action": "cancel"})
    assert "javascript" not in page.text


async def test_a_pay_page_that_does_not_exist(harness):
    for path in ("/pay/nothing", "/pay/nothing/done"):
        answer = await harness.browser.get(path)
        assert (answer.status_code, "does not exist" in answer.text) == (404, True)
