"""Whether a credential is genuine and still stands: for programs, and for people, without an account."""

import ipaddress
from collections.abc import AsyncGenerator
from typing import Annotated, Any
from uuid import UUID

from fastapi import Header, Path, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from credentials.adapters.badge_problems import as_problem
from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.adapters.page_cache import PageCache
from credentials.adapters.pages import HEADERS
from credentials.api.badge_errors import responses_as_pages_of, responses_of
from credentials.api.records import Issuing, Rendering
from credentials.api.typed import badge_id_of, page_of
from credentials.api.verification_shapes import FORMS, VerificationView
from credentials.api.waiting import while_awaited
from credentials.commands.verification import Verdict, verify_badge, verify_given
from credentials.domain import documents
from credentials.queries.documents import document_by_hash
from credentials.queries.issued import badge_revision
from openbadges.errors import BadgeError
from openbadges.verification.jose import NotToken
from openbadges.verification.parsing import TooCostly, TooManyParts, Unreadable
from openbadges.verification.plain_json import ControlCharacters, NotJson, TooDeep, TooManyValues
from openbadges.verification.reading import (
    CredentialTooLarge,
    DamagedImage,
    NoCredentialInImage,
    NotCredential,
    SeveralCredentialsInImage,
    is_web_page,
)
from openbadges.verification.report import sentence
from openbadges.verification.slots import VerifierBusy
from openbadges.verification.verifier import Verifier
from shared.access import Caller
from shared.database import Unknown
from shared.errors import DomainError, Malformed, Unsupported
from shared.process import Process
from shared.web import Router, conditional, error_responses_as_pages, resource

router = Router()

Verifying = Annotated[Verifier, resource(Verifier)]
Running = Annotated[Process, resource(Process)]
CachedPages = Annotated[PageCache, resource(PageCache)]
Accept = Annotated[str, Header(description="`text/html`: an error is answered with a page")]

_HTML = "text/html; charset=utf-8"
_PAGE: dict[str, Any] = {"content": {"text/html": {}}, "description": "A page for people"}  # Any: OpenAPI
_FORM_ROOM = 65_536
"""Bytes of a form beside the file in it."""


class NothingGiven(Malformed):
    """Neither a file nor a text was handed in."""


class NotForm(Unsupported):
    """The page takes what its own form sends: multipart/form-data."""


_REFUSED = (
    NothingGiven,
    CredentialTooLarge,
    NotJson,
    NotCredential,
    NotToken,
    NoCredentialInImage,
    SeveralCredentialsInImage,
    DamagedImage,
    TooDeep,
    TooManyValues,
    ControlCharacters,
    TooManyParts,
    TooCostly,
    Unreadable,
    VerifierBusy,
)


@router.post(
    "/v1/verifications",
    operation_id="verify_credential",
    status_code=200,
    openapi_extra={"requestBody": FORMS},
    responses=responses_of(*_REFUSED),
)
async def verify_credential(
    request: Request, process: Running, credential_issuer: Issuing, verifier: Verifying
) -> VerificationView:
    """Check a credential of ours or of others: JSON-LD, JWT, or a PNG or SVG with either baked in. Nothing is kept.

    `application/vc+ld+json` is read as `application/json` is.
    """
    raw = await _read(request, verifier.limits.image_bytes)
    verdict = await _verify(raw, request, process, credential_issuer, verifier)
    return VerificationView.of(
        verdict.report, verdict.status, ours=verdict.ours, newer_url=_newer_url(verdict, credential_issuer)
    )


def _newer_url(verdict: Verdict, credential_issuer: CredentialIssuer) -> str | None:
    return None if verdict.newest is None else credential_issuer.verification_url(verdict.newest)


@router.get("/verify", operation_id="read_upload_page", response_class=Response, responses={200: _PAGE})
async def read_upload_page(request: Request, pages: Rendering) -> Response:
    """A form to hand in a credential, of ours or of others."""
    return _with_headers(conditional(request, pages.upload().encode(), max_age_seconds=3600, media_type=_HTML))


@router.post(
    "/verify",
    operation_id="check_upload",
    response_class=Response,
    responses={200: _PAGE, 303: {"description": "To the page of the number or address"}}
    | responses_as_pages_of(NotForm, *_REFUSED),
    openapi_extra={
        "requestBody": {
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "title": "UploadForm",
                        "description": "A credential to check: its file (JSON, token, image or PDF), or else its text, "
                        "address or number.",
                        "properties": {
                            "file": {"type": "string", "format": "binary"},
                            "text": {"type": "string"},
                        },
                    }
                }
            },
            "required": True,
        }
    },
)
async def check_upload(
    *,
    request: Request,
    process: Running,
    credential_issuer: Issuing,
    verifier: Verifying,
    pages: Rendering,
    accept: Accept = "application/json",
) -> Response:
    """Check what the form sends: a file or a text. The answer is a page, be it that of a number or address of ours."""
    try:
        raw = await _handed_in(request, verifier.limits.image_bytes)
        if (address := page_of(raw, credential_issuer)) is not None:
            return _led_to(address)
        if documents.is_pdf(raw):
            return await _own_paper(raw, process, pages)
        if is_web_page(raw) and "text/html" in accept:
            return _page(
                pages.upload(
                    "This is a web page that was saved, and anybody can change one. Hand in the PDF, or type the "
                    "number that is printed on it as the text.",
                    leads_to_text=True,
                ),
                422,
            )
        verdict = await _verify(raw, request, process, credential_issuer, verifier)
    except (DomainError, BadgeError) as error:
        if "text/html" not in accept:
            raise
        refusal = as_problem(error) if isinstance(error, BadgeError) else error
        return _page(pages.upload(sentence(refusal.detail)), refusal.status)
    newer = _newer_url(verdict, credential_issuer)
    return _page(
        pages.verification(verdict.report, verdict.status, ours=verdict.ours, downloads={}, newer_url=newer), 200
    )


@router.get(
    "/verify/{badge_id}",
    operation_id="read_verification_page",
    response_class=Response,
    responses={200: _PAGE} | responses_of(VerifierBusy) | error_responses_as_pages(Unknown),
)
async def read_verification_page(
    *,
    badge_id: Annotated[str, Path(max_length=100, examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])],
    request: Request,
    process: Running,
    credential_issuer: Issuing,
    verifier: Verifying,
    pages: Rendering,
    page_cache: CachedPages,
    accept: Accept = "application/json",
) -> Response:
    """A page that says what was awarded, by whom and when, and answers each check separately."""
    try:
        known = _id_of(badge_id)
        path = f"/verify/{known}"
        revision = await badge_revision(process.database, known)
        page = page_cache.get(path, revision)
        if page is None:
            verdict = await verify_badge(
                known, process.database.reads, credential_issuer, verifier, process.database.clock()
            )
            page = page_cache.keep(path, revision, _own_page(verdict, known, pages, credential_issuer))
    except Unknown as unknown:
        return missing_page(unknown, pages.missing("credential"), accept)
    return kept_page(request, page)


def missing_page(unknown: Unknown, page: str, accept: str) -> Response:
    """Return a page for people that says what is unknown; raise the error for programs."""
    if "text/html" not in accept:
        raise unknown
    response = _page(page, unknown.status)
    response.headers["Vary"] = "Accept"
    return response


def _id_of(badge_id: str) -> UUID:
    found = badge_id_of(badge_id)
    if found is None:
        raise Unknown("no badge has such an address")
    return found


def kept_page(request: Request, page: bytes) -> Response:
    """Return a page that caches keep, and check each time before they use it."""
    return _with_headers(conditional(request, page, max_age_seconds=0, media_type=_HTML))


def _own_page(verdict: Verdict, badge_id: UUID, pages: Rendering, credential_issuer: CredentialIssuer) -> bytes:
    shown = verdict.newest or badge_id
    # Links have no host, so that the page works wherever it is served from; the printed address is read, and has one.
    downloads = {
        "page": credential_issuer.verification_url(badge_id),
        "json": f"/credentials/{shown}",
        "png": f"/credentials/{shown}.png",
        "svg": f"/credentials/{shown}.svg",
        "picture": f"/achievements/{verdict.achievement_id}/image.svg",
    }
    newer = _newer_url(verdict, credential_issuer)
    return pages.verification(verdict.report, verdict.status, ours=True, downloads=downloads, newer_url=newer).encode()


async def _verify(
    raw: bytes, request: Request, process: Process, credential_issuer: CredentialIssuer, verifier: Verifier
) -> Verdict:
    database = process.database
    work = verify_given(raw, database.reads, credential_issuer, verifier, database.clock(), client=_place_of(request))
    return await while_awaited(request, work, margin=verifier.limits.answer_margin_seconds)


def _place_of(request: Request) -> str:
    """Return the name in which the caller waits: somebody signed in does not wait behind others at the same address."""
    caller: Caller = request.state.caller
    return client_of(request) if caller.id is None and caller.client_id is None else caller.name


def client_of(request: Request) -> str:
    """Return the client that unsigned callers count as: the address the gateway states, for IPv6 the network of a
    household."""
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    forwarded = forwarded or (request.client.host if request.client else "")
    try:
        address = ipaddress.ip_address(forwarded)
    except ValueError:
        return forwarded
    return str(ipaddress.ip_network(f"{address}/64", strict=False) if address.version == 6 else address)  # noqa: PLR2004 - IPv6


async def _own_paper(file: bytes, process: Running, pages: Rendering) -> Response:
    """Redirect to the page of the document whose file this is, or say that it is none of ours."""
    async with process.database.reads() as session:
        on_file = await document_by_hash(session, documents.digest(file))
    if on_file is None:
        return _page(
            pages.upload(
                "This PDF is not one of our documents, or it was changed since, or it is older than what a file "
                "is known by here. Type its number as the text, to see what was issued under it.",
                leads_to_text=True,
            ),
            422,
        )
    address = f"/documents/{on_file.document.number}?version={on_file.edition.version}"
    return _led_to(address)


def _led_to(address: str) -> Response:
    return Response(status_code=303, headers={**HEADERS, "Location": address, "Cache-Control": "no-store"})


def _page(html: str, status: int) -> Response:
    headers = {**HEADERS, "Cache-Control": "no-store"}
    return Response(html, status, media_type=_HTML, headers=headers)


def _with_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response


async def _read(request: Request, most: int) -> bytes:
    """Return the body, of which no more than `most` bytes and a chunk are read. Raises CredentialTooLarge,
    NothingGiven."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise CredentialTooLarge(f"at most {most} bytes are read")
    if not body:
        raise NothingGiven("there is nothing to check")
    return bytes(body)


async def _handed_in(request: Request, most: int) -> bytes:
    """Return the uploaded file, or else the text. Raises NotForm, NothingGiven, CredentialTooLarge."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise NotForm("this page takes what its own form sends")
    body = await _read(request, most + _FORM_ROOM)

    async def stream() -> AsyncGenerator[bytes]:
        yield body

    try:
        form = await MultiPartParser(
            request.headers, stream(), max_files=1, max_fields=2, max_part_size=len(body)
        ).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise NotForm("the form cannot be read") from error
    try:
        file, text = form.get("file"), form.get("text")
        raw = await file.read() if isinstance(file, UploadFile) else b""
        raw = raw or (text.encode() if isinstance(text, str) else b"")
    finally:
        await form.close()
    if not raw.strip():
        raise NothingGiven("there is nothing to check: choose a file or paste a text")
    return raw
