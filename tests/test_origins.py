"""Which web pages may read what, asked of every operation through the front door and from a page in Chromium."""

import asyncio
import re

import httpx
import pytest

from embedded import demo
from embedded.services import NAMES, build, nowhere
from shared.ids import new_id

STRANGER = "http://verifier.example"
FOR_EVERY_PAGE = {
    # What checks a credential, wherever the checking runs.
    "read_did_document", "read_signing_keys", "read_issuer_keys",
    "read_status_list", "read_status_list_token",
    "read_credential", "read_credential_token", "refresh_credential", "refresh_credential_token",
    "download_baked_image", "download_baked_drawing",
    "read_achievement", "read_achievement_image", "read_achievement_drawing",
    "verify_credential", "check_document", "read_document_check",
    # What is on offer.
    "list_courses", "read_course", "list_subjects", "list_institutions", "list_programmes", "read_programme",
}  # fmt: skip


def test_the_access_tables_open_to_every_page_what_is_public_and_no_ones_alone():
    opened = {name: rule for one in NAMES for name, rule in build(one, nowhere()).access.items() if rule.any_origin}
    assert set(opened) == FOR_EVERY_PAGE
    assert all(rule.public for rule in opened.values())


async def test_every_operation_answers_pages_as_it_declares(embedded_platform):
    async with httpx.AsyncClient(base_url=embedded_platform.url, timeout=30) as client:
        document = (await client.get("/openapi.json")).json()
        seen = set()
        for path, item in document["paths"].items():
            concrete = re.sub(r"\{[^}]+\}", str(new_id()), path)
            for method, operation in item.items():
                for origin in ({}, {"Origin": STRANGER}):
                    answer = await client.request(method, concrete, headers=origin)
                    allowed, varies = answer.headers.get("access-control-allow-origin"), answer.headers.get("vary", "")
                    what = f"{method} {path}: {answer.status_code} allows {allowed}, varies by {varies}"
                    if operation["operationId"] in FOR_EVERY_PAGE:
                        assert (allowed, "origin" in varies.lower()) == ("*", False), what
                    else:
                        assert (allowed, "origin" in varies.lower()) == (None, True), what
                asked = {"Origin": STRANGER, "Access-Control-Request-Method": method.upper()}
                preflight = await client.options(concrete, headers=asked)
                assert preflight.status_code == (204 if operation["operationId"] in FOR_EVERY_PAGE else 403), path
                assert bool(operation.get("x-any-origin")) == (operation["operationId"] in FOR_EVERY_PAGE), path
                seen.add(operation["operationId"])
    assert seen >= FOR_EVERY_PAGE


FETCH = """async ([url, options]) => {
    try { const answer = await fetch(url, options); return [answer.status, await answer.text()]; }
    catch (error) { return [0, String(error)]; }
}"""


async def _show_page(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 8\r\nconnection: close\r\n\r\nVerifier"
    )
    await writer.drain()
    writer.close()


@pytest.mark.slow
async def test_a_verifier_in_a_browser_reads_all_it_needs(embedded_platform, browser):
    """From a page of an origin nobody here knows, with what such verifiers send besides."""
    award = await demo.narrate(embedded_platform.url, embedded_platform.deployment.folder, {})
    base = embedded_platform.url
    page = await browser.new_page()
    stranger = await asyncio.start_server(_show_page, "127.0.0.1", 0)
    await page.goto(f"http://verifier.localhost:{stranger.sockets[0].getsockname()[1]}/")

    async def fetched(url, **options):
        return await page.evaluate(FETCH, [url, options])

    address = award["verification_url"].replace("/verify/", "/credentials/")
    status, credential = await fetched(address, headers={"Accept": "application/vc+ld+json"})
    assert status == 200, credential
    lists = re.findall(rf'"({re.escape(base)}/status/[^"#]+)"', credential)
    assert lists
    for url in (f"{base}/.well-known/did.json", f"{base}/credentials/jwks.json", lists[0], f"{base}/v1/courses"):
        status, text = await fetched(url, headers={"If-None-Match": '"none"'})  # such a header makes the browser ask
        assert (status, text[:1]) == (200, "{"), url
    json = {"Content-Type": "application/json"}
    status, text = await fetched(f"{base}/v1/verifications", method="POST", headers=json, body=credential)
    assert (status, '"verified":true' in text.replace(" ", "")) == (200, True), text
    status, text = await fetched(f"{base}/v1/basket", headers={"Authorization": "Bearer none"})
    assert (status, "Failed to fetch" in text) == (0, True)
    await page.close()
    stranger.close()
