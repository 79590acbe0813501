"""The pages about problem codes, for people: RFC 9457 (§3.1.1) wants an explanation at the address in `type`."""

import re
from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from typing import Final

from gateway.documents.openapi import Rule, Rules
from shared.web.pages import page, whom_to_ask

INDEX: Final = "/problems"

REMEDIES: Final = {
    400: "Mend the request as `detail` says: sent again unchanged, it is refused again.",
    401: "Sign in anew at `POST /v1/sign-ins` (partners: `POST /oauth/token`) and send the fresh access token.",
    403: "Ask whoever runs this installation for the role or scope the operation names, if it is yours to do.",
    404: "Check the address and its ids. What belongs to somebody else is answered in the same way.",
    405: "Use one of the methods that the header `Allow` names.",
    408: "Send the request again, without pauses in it.",
    409: "Read the thing anew: its state has changed, or does not allow this. Then decide whether to ask again.",
    410: "It is over, and asking again does not help. Begin anew where that is offered.",
    412: "Read the thing anew, then change that version of it.",
    413: "Send less at once: `detail` names the bound.",
    414: "Shorten the address: `detail` names the bound.",
    415: "Send one of the kinds of content that the operation names.",
    422: "Mend what `detail` and, where there are, `errors` point at. Sent again unchanged, it is refused again.",
    429: "Wait as many seconds as the header `Retry-After` says, then go on.",
    431: "Send fewer or shorter headers.",
    500: "Nothing you can mend: name the `request_id` when you ask for help. It has been recorded.",
    502: "Read whether it took effect before you ask again; with the same `Idempotency-Key` it happens once.",
    503: "Wait as many seconds as the header `Retry-After` says and ask again; nothing is lost.",
    504: "Read whether it took effect before you ask again; with the same `Idempotency-Key` it happens once.",
}
_FEW: Final = 12
"""Up to so many operations are shown; more are folded away."""


def problem_page(code: str, rules: Mapping[Rule, Mapping[str, str]], contact: str) -> str:
    """Return the page of a problem code: what it means, what to do, and which operations answer with it."""
    cards = [
        f'<p class="soft">{rule.status} {escape(rule.title)}</p>\n<h1><code>{escape(code)}</code></h1>\n'
        f"<p>{_with_code(rule.meaning)}</p>\n"
        f"<h2>What to do</h2>\n<p>{_with_code(rule.remedy or _remedy(rule.status))}</p>\n"
        f"<h2>Who says so</h2>\n{_operations(operations)}"
        for rule, operations in sorted(rules.items(), key=lambda one: one[0])
    ]
    return page(
        code,
        *cards,
        f'{whom_to_ask(contact)}\n<p><a href="{INDEX}">All problems</a> · <a href="/docs">All operations</a></p>',
    )


def index_page(rules: Rules, contact: str) -> str:
    """Return the page that lists every problem code, by status."""
    by_status: dict[tuple[int, str], list[str]] = {}
    for code, meanings in sorted(rules.items()):
        for rule in meanings:
            words = _with_code(f"{rule.meaning} {rule.remedy}".strip())
            listed = f'<li><a href="{INDEX}/{escape(code)}"><code>{escape(code)}</code></a>: {words}</li>'
            by_status.setdefault((rule.status, _remedy(rule.status)), []).append(listed)
    cards = [
        f"<h2>{status}</h2>\n<p>Where nothing else is said: {_with_code(remedy)}</p>\n<ul>\n{''.join(listed)}\n</ul>"
        for (status, remedy), listed in sorted(by_status.items())
    ]
    head = (
        "<h1>Problems</h1>\n<p>Every error is a problem document (RFC 9457). Its <code>code</code> never changes and "
        "has one meaning and one status; its <code>detail</code> is for people.</p>\n"
        '<p><a href="/">This platform</a> · <a href="/docs">All operations</a></p>\n'
        f"{whom_to_ask(contact)}"
    )
    return page("Problems", head, *cards)


def _operations(operations: Mapping[str, str]) -> str:
    if not operations:
        return "<p>Any operation.</p>"
    items = [
        f'<li><a href="/docs#/{escape(tag)}/{escape(name)}"><code>{escape(name)}</code></a></li>'
        for name, tag in sorted(operations.items())
    ]
    listed = f"<ul>\n{''.join(items)}\n</ul>"
    return listed if len(items) <= _FEW else f"<details><summary>{len(items)} operations</summary>\n{listed}</details>"


def _remedy(status: int) -> str:
    return REMEDIES.get(status, REMEDIES[400 if status < HTTPStatus.INTERNAL_SERVER_ERROR else 500])


def _with_code(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code>\1</code>", escape(text))
