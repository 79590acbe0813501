"""Whether a credential is genuine and still stands: for programs, and for people, without an account."""

import ipaddress
import re
from collections.abc import AsyncGenerator
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import Header, Path, Request, Response
from pydantic import Field
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from credentials import queries
from credentials.adapters.facts import facts_of
from credentials.adapters.notary import Notary
from credentials.adapters.pages import HEADERS, verdict_of
from credentials.adapters.recent import Recent
from credentials.adapters.verification import CheckOutcome, Question, Report, Verifier, sentence
from credentials.adapters.verification.examination import TooCostly, TooManyParts, Unreadable
from credentials.adapters.verification.jose import NotToken
from credentials.adapters.verification.outside import origin
from credentials.adapters.verification.places import VerifierBusy
from credentials.adapters.verification.plain_json import ControlCharacters, NotJson, TooDeep, TooManyValues
from credentials.adapters.verification.reading import (
    CredentialTooLarge,
    DamagedImage,
    NoCredentialInImage,
    NotCredential,
    SeveralCredentialsInImage,
)
from credentials.api.records import Issuing, Rendering
from credentials.api.waiting import while_awaited
from credentials.commands.verification import Verdict, verify_badge, verify_given
from credentials.domain import documents
from shared.database import Unknown
from shared.errors import Malformed, Refusal, Unsupported
from shared.service import Process
from shared.web import Instant, Router, View, conditional, refusals, refusals_as_pages, resource

router = Router()

Verifying = Annotated[Verifier, resource(Verifier)]
Running = Annotated[Process, resource(Process)]
Keeping = Annotated[Recent, resource(Recent)]
Accept = Annotated[str, Header(description="`text/html`: what is not there is told on a page")]

_HTML = "text/html; charset=utf-8"
_PAGE: dict[str, Any] = {"content": {"text/html": {}}, "description": "A page for people"}  # Any: OpenAPI
_LONGEST_ADDRESS = 500
_OF_OURS = re.compile(
    r"/(?:verify|credentials)/(?P<badge>[0-9a-fA-F-]{36})(?:\.\w{1,4}|/refresh(?:\.jwt)?)?/?|/documents/(?P<number>[^/]+)/?"
)
_FORM_ROOM = 65_536
"""Bytes of a form beside the file in it."""
_FORMS: dict[str, Any] = {  # Any: OpenAPI
    "content": {
        "application/json": {
            "schema": {"type": "object", "description": "A credential with its Data Integrity proof"},
            "examples": {
                "badge": {
                    "summary": "An Open Badge",
                    "value": {
                        "@context": [
                            "https://www.w3.org/ns/credentials/v2",
                            "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json",
                        ],
                        "id": "https://badges.example.ac.uk/credentials/0b5f6f6e-0d0c-4b57-9d7e-0c9f6f3d1f50",
                        "type": ["VerifiableCredential", "OpenBadgeCredential"],
                        "issuer": {"id": "did:web:badges.example.ac.uk", "type": ["Profile"]},
                        "validFrom": "2026-07-01T09:00:00Z",
                        "credentialSubject": {},
                        "proof": [{}],
                    },
                }
            },
        },
        "application/vc+ld+json": {"schema": {"type": "object"}},
        "text/plain": {"schema": {"type": "string", "description": "A compact JWT"}},
        "image/png": {"schema": {"type": "string", "format": "binary", "description": "A baked badge"}},
        "image/svg+xml": {"schema": {"type": "string", "format": "binary", "description": "A baked badge"}},
    },
    "required": True,
}


class NothingGiven(Malformed):
    """Neither a file nor a text was handed in."""


class NotForm(Unsupported):
    """The page takes what its own form sends: multipart/form-data."""


class CheckView(View):
    name: Question
    outcome: CheckOutcome
    detail: str = Field(examples=["The issuer has not revoked it."])
    code: str | None = Field(description="Why it did not pass, stably", examples=[None])


class VerificationView(View):
    """Every question with its own answer. Inner credentials are checked each by itself."""

    verified: bool = Field(description="True only if every check passed")
    status: Literal[
        "valid",
        "superseded",
        "replaced",
        "partly_valid",
        "suspended",
        "revoked",
        "expired",
        "not_yet_valid",
        "unconfirmed",
    ]
    meaning: str = Field(
        description="What the status means, for people", examples=["This credential is genuine and stands."]
    )
    kind: Literal["badge", "transcript", "other"]
    name: str = Field(examples=["Applied Machine Learning"])
    issuer: str = Field(description="Whose signature it was held against", examples=["did:web:badges.example.ac.uk"])
    checked_at: Instant
    checks: list[CheckView]
    parts: list["VerificationView"] = Field(description="The credentials a transcript holds")
    newer: "VerificationView | None" = Field(description="The version the issuer has since replaced it by")
    newer_url: str | None = Field(
        default=None,
        description="Of a replaced badge of ours: the page of the one that stands, which has another address where a "
        "revoked credit was given back",
    )

    @classmethod
    def of(cls, report: Report, status: str | None = None, *, ours: bool = False, newer_url: str | None = None) -> Self:
        facts = facts_of(report.document, report.kind)
        status = status or report.status.value
        return cls.model_validate(
            {
                "verified": report.verified,
                "status": status,
                "meaning": verdict_of(report, status, ours=ours)[1],
                "kind": report.kind.value,
                "name": facts.title,
                "issuer": facts.issuer_id,
                "checked_at": report.checked_at,
                "checks": [CheckView.model_validate(check) for check in report.checks],
                "parts": [cls.of(part) for part in report.parts],
                "newer": cls.of(report.newer) if report.newer is not None else None,
                "newer_url": newer_url,
            }
        )


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
_FORM_AGAIN: dict[int | str, dict[str, Any]] = {  # Any: OpenAPI
    status: {"content": {"text/html": {}}, "description": told["description"]}
    for status, told in refusals(NotForm, *_REFUSED).items()
}


@router.post(
    "/v1/verifications",
    operation_id="verify_credential",
    status_code=200,
    openapi_extra={"requestBody": _FORMS},
    responses=refusals(*_REFUSED),
)
async def verify_credential(
    request: Request, process: Running, notary: Issuing, verifier: Verifying
) -> VerificationView:
    """Check a credential of ours or of others: JSON-LD, JWT, or a PNG or SVG with either baked in. Nothing is kept."""
    raw = await _read(request, verifier.limits.image_bytes)
    verdict = await _verify(raw, request, process, notary, verifier)
    return VerificationView.of(verdict.report, verdict.status, ours=verdict.ours, newer_url=_newer_url(verdict, notary))


def _newer_url(verdict: Verdict, notary: Notary) -> str | None:
    return None if verdict.newest is None else notary.verification_url(verdict.newest)


@router.get("/verify", operation_id="read_upload_page", response_class=Response, responses={200: _PAGE})
async def read_upload_page(request: Request, pages: Rendering) -> Response:
    """A form to hand in a credential, of ours or of others."""
    return _with_headers(conditional(request, pages.upload().encode(), max_age_seconds=3600, media_type=_HTML))


@router.post(
    "/verify",
    operation_id="check_upload",
    response_class=Response,
    responses={200: _PAGE, 303: {"description": "To the page of the number or address"}} | _FORM_AGAIN,
    openapi_extra={
        "requestBody": {
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
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
    request: Request, process: Running, notary: Issuing, verifier: Verifying, pages: Rendering
) -> Response:
    """What the form sends: a file or a text. The answer is a page, be it that of a number or address of ours."""
    try:
        raw = await _handed_in(request, verifier.limits.image_bytes)
        if (address := _page_of(raw, notary)) is not None:
            return _led_to(address)
        if documents.is_pdf(raw):
            return await _own_paper(raw, process, pages)
        verdict = await _verify(raw, request, process, notary, verifier)
    except Refusal as refusal:
        return _page(pages.upload(sentence(refusal.detail)), refusal.status)
    newer = _newer_url(verdict, notary)
    return _page(
        pages.verification(verdict.report, verdict.status, ours=verdict.ours, downloads={}, newer_url=newer), 200
    )


@router.get(
    "/verify/{badge_id}",
    operation_id="read_verification_page",
    response_class=Response,
    responses={200: _PAGE} | refusals(VerifierBusy) | refusals_as_pages(Unknown),
)
async def read_verification_page(
    *,
    badge_id: Annotated[str, Path(max_length=100, examples=["0193e7a4-5b5c-7c3a-9d59-0c4f5a1b2c3d"])],
    request: Request,
    process: Running,
    notary: Issuing,
    verifier: Verifying,
    pages: Rendering,
    recent: Keeping,
    accept: Accept = "application/json",
) -> Response:
    """Says what was awarded, by whom and when, and answers each check separately."""
    path = request.url.path
    try:
        known = _id_of(badge_id)
        revision = await queries.badge_revision(process.database, known)
        page = recent.get(path, revision)
        if page is None:
            verdict = await verify_badge(known, process.database.reads, notary, verifier, process.database.clock())
            page = recent.keep(path, revision, _own_page(verdict, known, pages, notary))
    except Unknown as unknown:
        return missing_page(unknown, pages.missing("credential"), accept)
    return kept_page(request, page)


def missing_page(unknown: Unknown, page: str, accept: str) -> Response:
    """In words for people; raises the refusal for programs."""
    if "text/html" not in accept:
        raise unknown
    response = _page(page, unknown.status)
    response.headers["Vary"] = "Accept"
    return response


def _id_of(badge_id: str) -> UUID:
    try:
        return UUID(badge_id)
    except ValueError:
        raise Unknown("no badge has such an address") from None


def kept_page(request: Request, page: bytes) -> Response:
    """Whoever keeps a copy asks each time whether it still holds."""
    return _with_headers(conditional(request, page, max_age_seconds=0, media_type=_HTML))


def _own_page(verdict: Verdict, badge_id: UUID, pages: Rendering, notary: Notary) -> bytes:
    shown = verdict.newest or badge_id
    # Links without a host, so that the page works wherever it is served from; on paper the address is read.
    downloads = {
        "page": notary.verification_url(badge_id),
        "json": f"/credentials/{shown}",
        "png": f"/credentials/{shown}.png",
        "svg": f"/credentials/{shown}.svg",
        "picture": f"/achievements/{verdict.achievement_id}/image.svg",
    }
    newer = _newer_url(verdict, notary)
    return pages.verification(verdict.report, verdict.status, ours=True, downloads=downloads, newer_url=newer).encode()


async def _verify(raw: bytes, request: Request, process: Process, notary: Notary, verifier: Verifier) -> Verdict:
    database = process.database
    work = verify_given(raw, database.reads, notary, verifier, database.clock(), client=client_of(request))
    return await while_awaited(request, work, margin=verifier.limits.answer_margin_seconds)


def client_of(request: Request) -> str:
    """Whom to share places with: the address the gateway tells, of IPv6 the network one household has."""
    told = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    told = told or (request.client.host if request.client else "")
    try:
        address = ipaddress.ip_address(told)
    except ValueError:
        return told
    return str(ipaddress.ip_network(f"{address}/64", strict=False) if address.version == 6 else address)  # noqa: PLR2004 - IPv6


async def _own_paper(file: bytes, process: Running, pages: Rendering) -> Response:
    """A document of ours is told by its bytes; its page says the rest."""
    async with process.database.reads() as session:
        shelved = await queries.document_by_hash(session, documents.digest(file))
    if shelved is None:
        return _page(
            pages.upload(
                "This PDF is not one of our documents, or it was changed since, or it is older than what a file "
                "is known by here. Type its number as the text, to see what was issued under it.",
                leads_to_text=True,
            ),
            422,
        )
    address = f"/documents/{shelved.document.number}?version={shelved.edition.version}"
    return _led_to(address)


def _page_of(typed: bytes, notary: Notary) -> str | None:
    """The page of what was typed, if that is the number of a document, or the address of something of ours."""
    if len(typed) > _LONGEST_ADDRESS:
        return None
    text = typed.decode(errors="replace").strip()
    number = documents.number_of(text)
    if number is not None:
        return f"/documents/{number}"
    try:
        if origin(text) != origin(notary.url):
            return None
        path = urlsplit(text).path
    except ValueError:
        return None
    found = _OF_OURS.fullmatch(path)
    if found is None:
        return None
    number = documents.number_of(found["number"] or "")
    return f"/documents/{number}" if number is not None else f"/verify/{found['badge']}" if found["badge"] else None


def _led_to(address: str) -> Response:
    return Response(status_code=303, headers={**HEADERS, "Location": address, "Cache-Control": "no-store"})


def _page(html: str, status: int) -> Response:
    headers = {**HEADERS, "Cache-Control": "no-store"}
    return Response(html, status, media_type=_HTML, headers=headers)


def _with_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    return response


async def _read(request: Request, most: int) -> bytes:
    """Raises CredentialTooLarge, having read no more than that; NothingGiven."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise CredentialTooLarge(f"at most {most} bytes are read")
    if not body:
        raise NothingGiven("there is nothing to check")
    return bytes(body)


async def _handed_in(request: Request, most: int) -> bytes:
    """The file, or else the text. Raises NotForm, NothingGiven, CredentialTooLarge."""
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
