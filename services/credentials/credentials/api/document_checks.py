"""Whether a document is ours, by its number, its hash or its file, and what became of what it certifies."""

import re
from typing import Annotated, Any, Literal
from urllib.parse import parse_qs

from fastapi import Path, Query, Request, Response
from pydantic import Field, StringConstraints, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.adapters.pages import Pages, under_review
from credentials.adapters.paper import Paper
from credentials.api.documents import HTML, PDF, Issuing, Printing, safe
from credentials.api.records import Rendering
from credentials.api.verification import Accept, client_of, missing_page
from credentials.commands import documents as printing
from credentials.domain import documents, view_models
from credentials.domain.documents import DocumentErased, DocumentKind, DocumentRevoked, TooManyComparisons
from credentials.queries.documents import EditionOnFile, document_by_hash, document_by_number
from shared.database import Unknown
from shared.errors import DomainError, Invalid, Malformed, TooLarge, Unsupported
from shared.web import (
    LARGEST,
    Instant,
    ReadSession,
    RequestModel,
    Router,
    Session,
    View,
    conditional,
    error_responses,
    error_responses_as_pages,
)

router = Router()

Typed = Annotated[
    str, Path(max_length=100, description="As it was typed from the paper", examples=["MC-2026-7KQ2M4X9PAT"])
]

_MOST_BYTES = 5 * 1024 * 1024
_PAGE: dict[str, Any] = {"content": {"text/html": {}}, "description": "A page for people"}  # Any: OpenAPI
_MOST_TYPED = 8192
_UNKEPT = {"Cache-Control": "no-store", "Vary": "Accept"}
_SHA256 = re.compile(r"[0-9a-f]{64}")

_VERDICTS = {
    documents.DocumentStatus.VALID: ("Valid", "A document with this number was issued, and what it certifies stands."),
    documents.DocumentStatus.SUPERSEDED: (
        "Superseded",
        (
            "A document with this number was issued. Its holder has since been given a higher award that builds on "
            "the same credit."
        ),
    ),
    documents.DocumentStatus.REVOKED: (
        "Revoked",
        "A document with this number was issued, and what it certified was taken back since. It must not be relied on.",
    ),
}


class DocumentTooLarge(TooLarge):
    """No document of ours is as large."""


class UnreadableReference(Invalid):
    """A document is looked up by the number printed on it, or by a SHA-256."""

    remedy = "Type the number as it is printed, or give the SHA-256 in 64 hex digits."


class NoPdf(Unsupported):
    """Send the PDF itself as the body, as application/pdf."""


class DocumentCheckView(View):
    """Whether a document is ours, which edition it is, and what became of what it certifies. It names nobody."""

    genuine: bool = Field(
        description="It is a document of ours, byte for byte. False, too, for one of before there were random numbers "
        "inside, asked for by its hash, or sent without its number"
    )
    status: documents.DocumentStatus | Literal["unknown"]
    number: str | None = Field(default=None, examples=["MC-2026-7KQ2M4X9PAT"])
    kind: DocumentKind | None = None
    version: int | None = Field(default=None, description="The edition that was asked about")
    as_at: Instant | None = None
    newest_version: int | None = Field(default=None, description="If higher, a newer edition has taken its place")
    under_review_since: Instant | None = Field(
        default=None,
        description="Of an award: credit it stands on was revoked, and whether it still stands is being decided",
    )
    verification_url: str | None = None


Numbered = Annotated[
    str | None,
    Query(
        max_length=100,
        description="The number on the document. The file of a document of before there were random numbers inside "
        "could be guessed from name and class, so it is looked up under the number alone, a few wrong times an hour",
        examples=["MC-2026-7KQ2M4X9PAT"],
    ),
]

_BINARY = {"schema": {"type": "string", "format": "binary"}}


class BadComparison(Malformed):
    """Send `name` and `class` as they are printed on the document, and `version`, if at all, as a whole number."""


class ComparisonView(View):
    """Whether the name and class that were typed in are those on a document."""

    same: bool = Field(
        description="Name and class are both those on the version compared with; of anything else it says nothing"
    )
    version: int = Field(description="The version it was compared with", examples=[1])
    newest_version: int = Field(
        description="If higher, a newer version has taken the place of the one compared with and may say otherwise",
        examples=[1],
    )


class _Compared(RequestModel):
    name: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    honours: Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)] = Field(default="", alias="class")
    version: Annotated[int, Field(ge=1, le=LARGEST)] | None = None


_COMPARED: dict[str, Any] = {  # Any: OpenAPI
    "type": "object",
    "title": "PrintedOnDocument",
    "description": "What is read on a document at hand, to be compared with what it should say.",
    "required": ["name"],
    "properties": {
        "name": {"type": "string", "maxLength": 500, "description": "As printed"},
        "class": {"type": "string", "maxLength": 200, "description": "As printed; nothing where none is printed"},
        "version": {
            "type": "integer",
            "minimum": 1,
            "maximum": LARGEST,
            "description": "As printed; else the newest is compared with",
        },
    },
}


@router.get(
    "/v1/document-checks/{reference}",
    operation_id="read_document_check",
    responses=error_responses(UnreadableReference),
)
async def read_document_check(
    *,
    reference: Annotated[
        str,
        Path(
            max_length=100,
            description="The number on the document, however typed, or the SHA-256 of its file or of its JSON, in hex",
            examples=["MC-2026-7KQ2M4X9PAT"],
        ),
    ],
    session: ReadSession,
    credential_issuer: Issuing,
) -> DocumentCheckView:
    """Whether there is such a document, and what became of it. By a hash computed at home, nothing is uploaded.

    Nothing is counted, for any page may have its readers' browsers ask.
    """
    if _SHA256.fullmatch(reference.lower()):
        on_file = await document_by_hash(session, reference.lower())
    elif known := documents.number_of(reference):
        on_file = await document_by_number(session, known)
    else:
        raise UnreadableReference("this is neither the number of a document nor a SHA-256 in hex")
    return _checked(on_file, credential_issuer)


@router.post(
    "/v1/document-checks",
    operation_id="check_document",
    status_code=200,
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "The PDF's bytes as they are, under either type",
            "content": {PDF: _BINARY, "application/octet-stream": _BINARY},
        }
    },
    responses=error_responses(NoPdf, DocumentTooLarge, TooManyComparisons),
)
async def check_document(
    request: Request, session: Session, credential_issuer: Issuing, number: Numbered = None
) -> DocumentCheckView:
    """Whether this very PDF is one of ours, and whether it is the newest. Nothing is kept of it."""
    file = bytearray()
    async for chunk in request.stream():
        file += chunk
        if len(file) > _MOST_BYTES:
            raise DocumentTooLarge(f"a document of ours has at most {_MOST_BYTES} bytes")
    if not documents.is_pdf(bytes(file[:8])):
        raise NoPdf("this is no PDF")
    sha256, known = documents.digest(bytes(file)), None if number is None else documents.number_of(number)
    if known is None:
        return _checked(await document_by_hash(session, sha256), credential_issuer)
    return _checked(await printing.by_file(session, sha256, known, client=client_of(request)), credential_issuer)


@router.get(
    "/documents/{number}",
    operation_id="read_document_check_page",
    response_class=Response,
    responses={200: _PAGE} | error_responses_as_pages(Unknown),
)
async def read_document_check_page(
    *,
    number: Typed,
    request: Request,
    session: ReadSession,
    credential_issuer: Issuing,
    paper: Printing,
    pages: Rendering,
    version: Annotated[int | None, Query(ge=1, le=LARGEST, description="Which one is at hand")] = None,
    accept: Accept = "application/json",
) -> Response:
    """What the document with this number certifies, and what became of it. It names nobody and shows no mark."""
    on_file = await _on_file(session, number)
    if on_file is None:
        return missing_page(_unknown(), pages.missing("document"), accept)
    if version is not None and version > on_file.newest:
        return _missing_version(on_file, version, pages, accept)
    page = await _check_page(session, on_file, credential_issuer, paper, version=version)
    return safe(conditional(request, page.encode(), max_age_seconds=30, media_type=HTML))


@router.post(
    "/documents/{number}",
    operation_id="compare_document",
    response_model=ComparisonView,
    responses={200: _PAGE}
    | error_responses_as_pages(BadComparison, Unknown, TooManyComparisons, DocumentRevoked, DocumentErased),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _COMPARED, "example": {"name": "Ada Lovelace", "class": "Merit"}},
                "application/x-www-form-urlencoded": {"schema": _COMPARED},
            },
        }
    },
)
async def compare_document(
    *,
    number: Typed,
    request: Request,
    session: Session,
    credential_issuer: Issuing,
    paper: Printing,
    pages: Rendering,
    accept: Accept = "application/json",
) -> Response:
    """Whether the name and class on a paper are those its version was made out with; only same or not the same.

    A version that another has taken the place of is compared with where it is named, as it is printed on the paper.
    Nothing else on it is compared: the courses and marks of a transcript are proved by its file alone. What is not the
    same is counted: a client has a few tries an hour.
    """
    body = await _form(request)
    on_file = await _on_file(session, number)
    if on_file is None:
        return missing_page(_unknown(), pages.missing("document"), accept)
    typed, compared = None, on_file
    try:
        typed = _typed(body, request.headers.get("content-type", ""))
        if typed.version is not None and typed.version != on_file.newest:
            earlier = await document_by_number(session, on_file.document.number, typed.version)
            if earlier is None:
                return _missing_version(on_file, typed.version, pages, accept)
            compared = earlier
        is_same = await printing.compare(session, compared, typed.name, typed.honours, client=client_of(request))
    except DomainError as refusal:
        if "text/html" not in accept:
            raise
        page = await _check_page(session, on_file, credential_issuer, paper, problem=refusal.detail, typed=typed)
        return safe(Response(page, refusal.status, media_type=HTML, headers=_UNKEPT | refusal.headers))
    if "text/html" in accept:
        page = await _check_page(
            session, on_file, credential_issuer, paper, version=compared.edition.version, same=is_same, typed=typed
        )
        return safe(Response(page, media_type=HTML, headers=_UNKEPT))
    view = ComparisonView(same=is_same, version=compared.edition.version, newest_version=on_file.newest)
    return Response(view.model_dump_json(), media_type="application/json", headers=_UNKEPT)


def _missing_version(on_file: EditionOnFile, version: int, pages: Pages, accept: str) -> Response:
    unknown = Unknown(f"there is no version {version} of this document; the newest is version {on_file.newest}")
    return missing_page(unknown, pages.missing_version(on_file.document.number, version, on_file.newest), accept)


async def _form(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_TYPED:
            raise BadComparison("send the name and the class as they are printed")
    return bytes(body)


def _typed(body: bytes, content_type: str) -> _Compared:
    try:
        if content_type.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded":
            fields = parse_qs(body.decode("ascii"), max_num_fields=4, errors="strict")
            return _Compared.model_validate({name: values[-1] for name, values in fields.items()})
        return _Compared.model_validate_json(body)
    except ValidationError as error:
        if all(one["loc"] == ("version",) for one in error.errors()):
            raise BadComparison("the version is a whole number, as it is printed on the document") from error
        raise BadComparison("send the name and the class as they are printed, as a form or as JSON") from error
    except ValueError as error:
        raise BadComparison("send the name and the class as they are printed, as a form or as JSON") from error


async def _on_file(session: AsyncSession, number: str) -> EditionOnFile | None:
    known = documents.number_of(number)
    return None if known is None else await document_by_number(session, known)


def _unknown() -> Unknown:
    return Unknown("there is no document with this number")


async def _check_page(
    session: AsyncSession,
    on_file: EditionOnFile,
    credential_issuer: CredentialIssuer,
    paper: Paper,
    *,
    version: int | None = None,
    same: bool | None = None,
    problem: str | None = None,
    typed: _Compared | None = None,
) -> str:
    certified = await printing.certified(session, on_file.document, on_file.edition)
    verdict, meaning = _VERDICTS[on_file.status]
    if on_file.under_review_since is not None:
        verdict, meaning = f"{verdict}, under review", f"{meaning} {under_review(on_file.under_review_since)}"
    is_revoked = on_file.status is documents.DocumentStatus.REVOKED
    return paper.check_page(
        {
            "verdict": verdict,
            "meaning": meaning,
            "status": on_file.status.value if on_file.under_review_since is None else "suspended",
            "heading": view_models.heading(on_file.kind),
            "issuer": credential_issuer.issuer.name,
            "number": on_file.document.number,
            "facts": view_models.public_facts(on_file.kind, certified),
            "version": version,
            "newest": on_file.newest,
            "as_at": view_models.minute(on_file.edition.as_at.isoformat()),
            "comparable": not is_revoked and on_file.edition.content is not None,
            "asks_class": on_file.kind is not DocumentKind.TRANSCRIPT,
            "same": same,
            "problem": problem,
            "typed_name": typed.name if typed else "",
            "typed_class": typed.honours if typed else "",
        }
    )


def _checked(on_file: EditionOnFile | None, credential_issuer: CredentialIssuer) -> DocumentCheckView:
    if on_file is None:
        return DocumentCheckView(genuine=False, status="unknown")
    return DocumentCheckView(
        genuine=True,
        status=on_file.status,
        number=on_file.document.number,
        kind=on_file.kind,
        version=on_file.edition.version,
        as_at=on_file.edition.as_at,
        newest_version=on_file.newest,
        under_review_since=on_file.under_review_since,
        verification_url=credential_issuer.document_url(on_file.document.number),
    )
