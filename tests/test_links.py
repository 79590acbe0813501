"""Every address that people are given ends on a page for people or a file: in e-mails, on the pay page, in problems."""

import email
import email.policy
import re
import secrets
from html import unescape
from urllib.parse import urljoin, urlsplit
from uuid import UUID

import httpx
import pytest

from embedded.journey import Learner, Name, connected, pay_at_the_sandbox, until
from shared.ids import new_id

NAME = Name("Ada", "Lovelace")
LIKE_A_BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
FOR_PEOPLE = ("text/html", "application/pdf", "image/", "text/css")


def _emails(folder, to):
    for file in sorted((folder / "mail").rglob("*.eml")):
        message = email.message_from_bytes(file.read_bytes(), policy=email.policy.default)
        if to in str(message["to"]):
            yield message


def _links(html):
    return [unescape(link) for link in re.findall(r'(?:href|src)="([^"#][^"]*)"', html) if not link.startswith("data:")]


async def _must_be_for_people(client, url):
    answer = await client.get(url, headers=LIKE_A_BROWSER, follow_redirects=True)
    kind = answer.headers.get("content-type", "")
    assert answer.status_code == 200, f"{url}: {answer.status_code} {answer.text:.200}"
    assert kind.startswith(FOR_PEOPLE), f"{url}: {kind}"
    return answer


@pytest.fixture
async def client():
    async with httpx.AsyncClient(timeout=30) as client:
        yield client


@pytest.fixture
async def checkout(embedded_platform):
    """A fresh order at its pay page."""
    async with connected(embedded_platform.url) as connection:
        learner = Learner(connection)
        to = f"{secrets.token_hex(6)}@learner.example"
        await learner.open_account(to, secrets.token_urlsafe(12))
        await learner.register(NAME, to)
        course = (await learner.ask("GET", "/v1/courses", limit=1))["items"][0]
        order = await learner.order([course["course_id"]])
        yield learner, order, to, (await learner.check_out(order, NAME, to))["pay_url"]


async def test_the_links_of_emails_and_of_the_pay_page_lead_to_pages(embedded_platform, checkout, client):
    learner, order, to, pay_url = checkout
    await pay_at_the_sandbox(learner.client, pay_url)
    done = await _must_be_for_people(client, f"{pay_url}/done")
    back = [link for link in _links(done.text) if "order_id" in link]
    assert back
    for link in _links(done.text):
        await _must_be_for_people(client, urljoin(pay_url, link))
    await learner.enrolments_of(order["order_id"])

    async def written():
        said = "".join(message.get_content() for message in _emails(embedded_platform.deployment.folder, to))
        found = re.findall(r"https?://[^\s<>]+", said)
        return found if any("/receipts/" in link for link in found) else None

    links = await until(written, "the e-mail about the payment")
    receipts = [link for link in links if "/receipts/" in link]
    for link in links:
        await _must_be_for_people(client, link)
    receipt = (await client.get(receipts[0])).text
    assert "£495.00" in receipt
    assert NAME.family not in receipt
    person = {"Accept": "text/html"}
    forged = await client.get(f"{receipts[0][:-1]}{'0' if receipts[0][-1] != '0' else '1'}", headers=person)
    other = await client.get(receipts[0].replace(order["order_id"], str(new_id())), headers=person)
    for answer in (forged, other):
        assert (answer.status_code, "No such receipt" in answer.text) == (404, True)


async def test_who_leaves_the_pay_page_comes_to_a_page(checkout, client):
    *_, pay_url = checkout
    left = await client.post(pay_url, data={"action": "cancel"})
    for link in _links(left.text):
        await _must_be_for_people(client, urljoin(pay_url, link))


REFUSED = [
    ("GET", "/v1/basket"),
    ("GET", "/nowhere"),
    ("DELETE", "/v1/courses"),
    ("GET", "/v1/courses/no-such-course"),
    ("GET", "/v1/courses?limit=0"),
    ("POST", "/oauth/token"),
    ("POST", "/v1/sign-ins"),
    ("GET", f"/credentials/{UUID(int=1)}"),
    ("POST", "/v1/verifications"),
]


@pytest.mark.parametrize(("method", "path"), REFUSED)
async def test_a_problem_leads_to_its_page(embedded_platform, client, method, path):
    refused = await client.request(method, f"{embedded_platform.url}{path}")
    assert refused.headers["content-type"] == "application/problem+json"
    await _must_be_for_people(client, urljoin(embedded_platform.url, refused.json()["type"]))


async def test_no_link_on_the_pages_of_the_front_door_is_dead(embedded_platform, client):
    """From the front page on, through every page of ours; what it says is data may be data."""
    waiting, seen = [f"{embedded_platform.url}/"], set()
    while waiting:
        url = waiting.pop()
        if url in seen or urlsplit(url).netloc != urlsplit(embedded_platform.url).netloc:
            continue
        seen.add(url)
        answer = await client.get(url, headers=LIKE_A_BROWSER)
        assert answer.status_code == 200, f"{url}: {answer.status_code}"
        if answer.headers["content-type"].startswith("text/html"):
            waiting += [urljoin(url, link).partition("#")[0] for link in _links(answer.text)]
    assert len(seen) > 200


async def test_the_sandbox_shows_its_sample_accounts_without_their_passwords(embedded_platform, client):
    page = await _must_be_for_people(client, f"{embedded_platform.url}/")
    assert "marker@platform.example" in page.text
    people = (embedded_platform.deployment.folder / "people.json").read_text()
    for password in re.findall(r'"password": "([^"]+)"', people):
        assert password not in page.text
