"""The front page: what this platform is and where its parts are, as HTML for people and as JSON for programs."""

from collections.abc import Mapping
from html import escape
from typing import Final

import orjson

from shared.web.pages import page, whom_to_ask

_PLACES: Final = {
    "documentation": ("/docs", "All operations, to read and to try"),
    "openapi": ("/openapi.json", "The same as an OpenAPI 3.1 document, to generate a client from"),
    "problems": ("/problems", "What each problem means, and what to do"),
    "courses": ("/v1/courses", "What is on offer (JSON)"),
    "verify": ("/verify", "Check a credential or a document"),
    "issuer": ("/.well-known/did.json", "The issuer of our credentials (DID document)"),
    "keys": ("/.well-known/jwks.json", "The keys that verify access tokens"),
}


def front_document(release: str, contact: str, accounts: Mapping[str, str]) -> bytes:
    """Return the front page as JSON. `accounts` are a sandbox's e-mail addresses by role; elsewhere there are none."""
    listed: dict[str, object] = {"title": "Microcredentials platform", "release": release, "contact": contact}
    listed |= {name: address for name, (address, _) in _PLACES.items()}
    if accounts:
        listed["sample_accounts"] = dict(accounts)
    return orjson.dumps(listed)


def front_page(contact: str, accounts: Mapping[str, str], *, from_payment: bool) -> str:
    """Return the front page as HTML; with `from_payment` it begins with what happens after a visit to a pay page."""
    cards: list[str] = []
    level = "h2" if from_payment else "h1"
    if from_payment:
        cards.append(
            "<h1>Your order</h1>\n<p>If you have just paid: once the payment is confirmed, your courses open by "
            "themselves and the receipt comes by e-mail. You can close this page.</p>\n<p>If an e-mail says that "
            "something is still due: open the order where you placed it, under your orders, and pay it there. "
            "Programs ask <code>POST /v1/orders/{order_id}/checkout</code> for the pay page.</p>"
        )
    links = "\n".join(
        f'<dt><a href="{address}">{address}</a></dt><dd>{escape(what)}</dd>' for address, what in _PLACES.values()
    )
    cards.append(
        f"<{level}>Microcredentials platform</{level}>\n"
        "<p>Short postgraduate courses that are taught, assessed and certified here, and stack into a PGCert, a PGDip "
        "or a Master's degree. This is its API: learners meet it through a front end.</p>\n"
        f"<dl>\n{links}\n</dl>\n{whom_to_ask(contact)}"
    )
    if accounts:
        rows = "\n".join(f"<dt>{escape(role)}</dt><dd>{escape(email)}</dd>" for role, email in accounts.items())
        cards.append(
            "<h2>Sample accounts</h2>\n<p>This is a sandbox. Sign in at <code>POST /v1/sign-ins</code>; the passwords "
            "were made for this installation and are shown where it was started, and in <code>people.json</code> "
            f"beside its data.</p>\n<dl>\n{rows}\n</dl>"
        )
    return page("Microcredentials platform", *cards)
