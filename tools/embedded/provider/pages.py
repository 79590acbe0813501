"""The hosted pay page, for a person with a browser: plain HTML, no script."""

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from embedded.provider.api import sandbox_of
from embedded.provider.books import Record
from embedded.provider.shapes import CHARGED, DECLINED, NotPossible
from shared.money import money_text

FOLDER = Path(__file__).parent / "templates"
LARGEST_FORM = 16 * 1024
OUTCOMES = (
    ("", "It succeeds and is paid out"),
    ("SANDBOX_TO_GUARANTEED_STATUS", "It succeeds but is not paid out yet"),
    ("SANDBOX_TO_CANCEL_STATUS", "It is cancelled before it is processed"),
    ("SANDBOX_CANCELLED_BACK_TO_PROCESS_STATUS", "It is cancelled, then processed after all"),
    ("SANDBOX_TO_VERIFICATION_FAILED", "It is processed, then verification fails"),
)
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


_templates = Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)


def _page(name: str, status: int = 200, **values: Any) -> Response:  # Any: what the template shows
    html = _templates.get_template(name).render(money=money_text, **values)
    return Response(html, status, headers=HEADERS, media_type="text/html; charset=utf-8")


def _form(session: Record, filled: dict[str, str], errors: dict[str, str], status: int = 200) -> Response:
    return _page("pay.html", status, session=session, filled=filled, errors=errors, outcomes=OUTCOMES)


async def about(_: Request) -> Response:
    return _page("about.html")


async def show(request: Request) -> Response:
    try:
        session = sandbox_of(request).session(request.path_params["id"])
    except NotPossible:
        return _page("closed.html", 404, title="This pay page does not exist", session=None)
    if session["status"] == "paid":
        return RedirectResponse(f"/pay/{session['id']}/done", HTTPStatus.SEE_OTHER, HEADERS)
    if session["status"] != "open":
        return _page("closed.html", 410, title="This pay page has expired", session=_with_return(session))
    payor = session["payor"]
    filled = {
        "first_name": payor["first_name"],
        "last_name": payor["last_name"],
        "card_number": "4111 1111 1111 1111",
        "expiry": "12/30",
        "security_code": "123",
        "outcome": "",
    }
    return _form(session, filled, {})


async def submit(request: Request) -> Response:
    sandbox = sandbox_of(request)
    body = await request.body()
    if len(body) > LARGEST_FORM:
        return Response("Too large", 413)
    filled = {name: values[0].strip() for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    try:
        session = sandbox.session(request.path_params["id"])
    except NotPossible:
        return await show(request)
    if session["status"] != "open":
        return await show(request)
    if filled.get("action") == "cancel":
        return _page("cancelled.html", session=_with_return(session, payment="cancelled"))
    fields = ("first_name", "last_name", "card_number", "expiry", "security_code", "outcome")
    filled = {name: filled.get(name, "") for name in fields}
    errors = _errors(filled)
    if errors:
        return _form(session, filled, errors, 422)
    payment = sandbox.pay(
        session["id"],
        first_name=filled["outcome"] or filled["first_name"],
        last_name=filled["last_name"],
        method="card",
    )
    sandbox.decline(payment)
    return RedirectResponse(f"/pay/{session['id']}/done", HTTPStatus.SEE_OTHER, HEADERS)


def _errors(filled: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, what in (("first_name", "given name"), ("last_name", "family name")):
        if not filled[name]:
            found[name] = f"Enter your {what}"
    if not re.fullmatch(r"\d{12,19}", re.sub(r"[ -]", "", filled["card_number"])):
        found["card_number"] = "Enter a card number of 12 to 19 digits"
    if not re.fullmatch(r"(0[1-9]|1[0-2])\s*/\s*\d\d", filled["expiry"]):
        found["expiry"] = "Enter month and year, such as 12/30"
    if not re.fullmatch(r"\d{3,4}", filled["security_code"]):
        found["security_code"] = "Enter the 3 or 4 digits of the security code"
    if filled["outcome"] not in dict(OUTCOMES):
        found["outcome"] = "Choose one of the outcomes"
    return found


async def done(request: Request) -> Response:
    sandbox = sandbox_of(request)
    try:
        session = sandbox.session(request.path_params["id"])
    except NotPossible:
        return await show(request)
    if session["payment_id"] is None:
        return RedirectResponse(f"/pay/{session['id']}", HTTPStatus.SEE_OTHER, HEADERS)
    payment = sandbox.payment(session["payment_id"])
    outcome = "declined" if payment["status"] in DECLINED else "paid" if payment["status"] in CHARGED else "pending"
    return _page("done.html", session=_with_return(session, payment=outcome), payment=payment, outcome=outcome)


def _with_return(session: Record, **result: str) -> Record:
    """Return the session with the link back as `back`, the result in its query; None unless it is http or https."""
    parts = urlsplit(session["return_url"] or "")
    if parts.scheme not in {"http", "https"}:
        return {**session, "back": None}
    query = "&".join(filter(None, (parts.query, urlencode(result))))
    return {**session, "back": urlunsplit(parts._replace(query=query))}


async def style(_: Request) -> Response:
    return Response(
        (FOLDER / "pay.css").read_bytes(),
        media_type="text/css; charset=utf-8",
        headers={"Cache-Control": "max-age=300", "X-Content-Type-Options": "nosniff"},
    )


routes = [
    Route("/", about),
    Route("/pay/style.css", style),
    Route("/pay/{id}", show),
    Route("/pay/{id}", submit, methods=["POST"]),
    Route("/pay/{id}/done", done),
]
