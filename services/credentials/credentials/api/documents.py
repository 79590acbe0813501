"""Documents for people: transcript, certificates, parchments."""

from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Header, Path, Query, Request, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncSession

from credentials.adapters.credential_issuer import CredentialIssuer
from credentials.adapters.fonts import NotPrintable
from credentials.adapters.pages import HEADERS
from credentials.adapters.paper import Paper, TypesetterBusy
from credentials.api.bodies import A_CREDENTIAL, BYTES
from credentials.commands import documents as printing
from credentials.commands import learner_records
from credentials.domain import documents, view_models
from credentials.domain.documents import (
    DocumentErased,
    DocumentKind,
    DocumentRevoked,
    EarlierName,
    NothingSigned,
    RecordChanging,
)
from credentials.queries.documents import EditionOnFile, document_by_number, documents_of
from credentials.tables.people import Person
from shared.access import Caller
from shared.database import Unknown
from shared.secret_box import SigningKeyUnreadable
from shared.web import (
    LARGEST,
    CallerOf,
    DatabaseOf,
    Instant,
    Page,
    ReadSession,
    Router,
    View,
    conditional,
    error_responses,
    page_of,
    resource,
    view_of,
)

router = Router()

Issuing = Annotated[CredentialIssuer, resource(CredentialIssuer)]
Printing = Annotated[Paper, resource(Paper)]
Number = Annotated[
    str,
    Path(pattern=documents.NUMBER, description="As it stands on the document", examples=["MC-2026-7KQ2M4X9PAT"]),
]
Version = Annotated[
    int | None, Query(ge=1, le=LARGEST, description="An earlier version, as it was; the newest without it")
]

PDF = "application/pdf"
HTML = "text/html; charset=utf-8"
_CREDENTIAL = "application/vc+ld+json"
_PAGE: dict[str, Any] = {"content": {"text/html": {}}, "description": "To read and print"}  # Any: OpenAPI
_PAPER: dict[str, Any] = {  # Any: OpenAPI
    "content": {PDF: BYTES},
    "description": "Tagged (PDF/UA-1) and archival (PDF/A-2a), A4",
}
_RECORD: dict[str, Any] = {
    "content": {_CREDENTIAL: A_CREDENTIAL},
    "description": "A signed ClrCredential",
}  # Any: OpenAPI
_NEWEST: dict[str, Any] = {"content": {"text/html": {}}, "description": "The newest edition"}  # Any: OpenAPI

_HASH = "5f2b0c4e8d1a7f3690c2b4e6d8fa1c3e5b7d9f0a2c4e6f8b1d3f5a7c9e0b2d4f"
_CERTIFICATE = {
    "version": 2,
    "as_at": "2026-11-23T17:00:00Z",
    "nonce": "8f14e45fceea167a5a36dedd4bea2543",
    "name": "Ada Lovelace",
    "credit_id": "0192f0c1-7a2b-7c3d-8e4f-5a6b7c8d9e0f",
    "course_code": "7DS501",
    "course_title": "Applied Machine Learning",
    "subject": "Data Science",
    "credits": 15,
    "level": 7,
    "ratified_at": "2026-10-01T09:00:00Z",
    "institution": "Northbridge University",
}


class DocumentView(View):
    """The newest edition of a document, and where its forms are."""

    number: str = Field(examples=["MC-2026-7KQ2M4X9PAT"])
    kind: DocumentKind
    title: str = Field(description="What it certifies", examples=["Applied Machine Learning"])
    credit_id: UUID | None
    award_id: UUID | None
    status: documents.DocumentStatus = Field(
        description="Of what it certifies; a revoked document is no longer handed out"
    )
    version: int = Field(examples=[3])
    as_at: Instant
    sha256: str = Field(
        examples=[_HASH], description="Of the document as JSON with sorted members and no spaces, in UTF-8, in hex"
    )
    json_url: str = Field(examples=["/v1/documents/MC-2026-7KQ2M4X9PAT"])
    html_url: str = Field(
        description="Needs the access token, as this operation does: fetch it and show it, a bare link is refused",
        examples=["/v1/documents/MC-2026-7KQ2M4X9PAT.html"],
    )
    pdf_url: str = Field(
        description="Needs the access token, as `html_url` does", examples=["/v1/documents/MC-2026-7KQ2M4X9PAT.pdf"]
    )
    unprintable: list[str] = Field(
        examples=[[]],
        description="Characters of it that no font here has: while there are any the PDF is refused (`not_printable`); "
        "the page and the JSON hold all of it",
    )
    clr_url: str | None = Field(
        description="Transcripts only: a signed Comprehensive Learner Record 2.0", examples=[None]
    )
    verification_url: str = Field(
        description="Where anybody checks it; it stands on the document, and never changes",
        examples=["https://badges.example.ac.uk/documents/MC-2026-7KQ2M4X9PAT"],
    )


class EditionView(View):
    """A document's contents as at an instant, with the hash that identifies them."""

    number: str = Field(examples=["MC-2026-7KQ2M4X9PAT"])
    kind: DocumentKind
    issuer: str = Field(examples=["University of Example"])
    version: int = Field(examples=[2])
    newest_version: int = Field(examples=[2])
    as_at: Instant
    sha256: str = Field(
        examples=[_HASH], description="Of `document` as JSON with sorted members and no spaces, in UTF-8, in hex"
    )
    verification_url: str = Field(examples=["https://badges.example.ac.uk/documents/MC-2026-7KQ2M4X9PAT"])
    document: dict[str, Any] = Field(examples=[_CERTIFICATE])  # Any: JSON


class TranscriptView(EditionView):
    """An edition of a learner's transcript, with the id by which its PDF and page are fetched."""

    transcript_id: UUID


@router.get("/v1/documents", operation_id="list_documents")
async def list_documents(
    session: ReadSession,
    caller: CallerOf,
    credential_issuer: Issuing,
    paper: Printing,
    learner_id: Annotated[UUID | None, Query(description="For registrars: whose")] = None,
) -> Page[DocumentView]:
    """One's transcript, the certificate of each credit and the parchment of each award; a few dozen at most."""
    whose = learner_id if learner_id is not None and caller.is_staff else caller.own_id
    caller.must_own(whose)
    return page_of(await documents_of(session, whose), lambda one: _view(one, credential_issuer, paper))


@router.get(
    "/v1/documents/{number}.html",
    operation_id="read_document_page",
    response_class=Response,
    responses={200: _PAGE} | error_responses(DocumentRevoked, DocumentErased, EarlierName),
)
async def read_document_page(
    number: Number,
    request: Request,
    session: ReadSession,
    caller: CallerOf,
    credential_issuer: Issuing,
    paper: Printing,
    version: Version = None,
) -> Response:
    """A document as a page, with the same facts as its PDF."""
    on_file = await _handed_out(session, caller, number, version)
    return safe(
        _private(conditional(request, paper.page(view_model_of(on_file, credential_issuer)).encode(), media_type=HTML))
    )


@router.get(
    "/v1/documents/{number}.pdf",
    operation_id="read_document_pdf",
    response_class=Response,
    responses={200: _PAPER}
    | error_responses(DocumentRevoked, DocumentErased, EarlierName, NotPrintable, TypesetterBusy),
)
async def read_document_pdf(
    number: Number,
    request: Request,
    session: ReadSession,
    database: DatabaseOf,
    caller: CallerOf,
    credential_issuer: Issuing,
    paper: Printing,
    version: Version = None,
) -> Response:
    """The paper. The hash of the file is kept, so that `check_document` knows it again."""
    on_file = await _handed_out(session, caller, number, version)
    file = await paper.pdf(view_model_of(on_file, credential_issuer), on_file.edition.as_at)
    async with database.transaction() as writing:
        await printing.remember_file(writing, on_file.edition, file)
    response = _private(conditional(request, file, media_type=PDF))
    response.headers["Content-Disposition"] = f'inline; filename="{on_file.document.kind}-{number}.pdf"'
    return response


@router.get(
    "/v1/documents/{number}.clr",
    operation_id="read_learner_record",
    response_class=Response,
    responses={200: _RECORD}
    | error_responses(
        DocumentRevoked, DocumentErased, EarlierName, NothingSigned, RecordChanging, SigningKeyUnreadable
    ),
)
async def read_learner_record(
    number: Number, request: Request, database: DatabaseOf, caller: CallerOf, credential_issuer: Issuing
) -> Response:
    """The transcript as a Comprehensive Learner Record 2.0 with the signed badges inside. It names you: share it
    deliberately. It is revoked when a newer transcript takes its place or something on it is withdrawn."""

    async def find(session: AsyncSession) -> EditionOnFile:
        on_file = await _handed_out(session, caller, number, None)
        if on_file.document.kind != DocumentKind.TRANSCRIPT:
            raise Unknown("only a transcript is a learner record")
        return on_file

    record = await learner_records.transcript_record(database.transaction, credential_issuer, find)
    return _private(conditional(request, orjson.dumps(record, option=orjson.OPT_SORT_KEYS), media_type=_CREDENTIAL))


@router.get(
    "/v1/documents/{number}",
    operation_id="read_document",
    responses=error_responses(DocumentRevoked, DocumentErased, EarlierName),
)
async def read_document(
    number: Number, session: ReadSession, caller: CallerOf, credential_issuer: Issuing, version: Version = None
) -> EditionView:
    """What a document says, as it was hashed."""
    on_file = await _handed_out(session, caller, number, version)
    return view_of(on_file, lambda one: EditionView(**_edition(one, credential_issuer)))


@router.get(
    "/v1/transcript",
    operation_id="read_transcript",
    response_model=TranscriptView,
    responses={200: _NEWEST} | error_responses(Unknown),
)
async def read_transcript(
    session: ReadSession,
    caller: CallerOf,
    credential_issuer: Issuing,
    paper: Printing,
    accept: Annotated[str, Header(description="`text/html` for a page to read and print")] = "application/json",
) -> TranscriptView | Response:
    """One's own transcript, with its hash and its instant."""
    found = [one for one in await documents_of(session, caller.own_id) if one.document.kind == DocumentKind.TRANSCRIPT]
    if not found:
        raise Unknown("there is nothing to put on a transcript yet")
    if "text/html" in accept:
        page = Response(
            paper.page(view_model_of(found[0], credential_issuer)), media_type=HTML, headers={"Vary": "Accept"}
        )
        return safe(page)
    return TranscriptView(transcript_id=found[0].edition.edition_id, **_edition(found[0], credential_issuer))


async def _handed_out(session: AsyncSession, caller: Caller, number: str, version: int | None) -> EditionOnFile:
    """Return an edition for its holder or a registrar. Raises Unknown, DocumentRevoked, DocumentErased, EarlierName."""
    on_file = await document_by_number(session, number, version)
    if on_file is None:
        raise Unknown("there is no document with this number")
    caller.must_own(on_file.document.learner_id)
    documents.check_status(on_file.status)
    if on_file.edition.content is None:
        raise documents.DocumentErased("what this document said is not kept")
    if not on_file.is_newest:
        person = await session.get(Person, on_file.document.learner_id)
        documents.check_name(on_file.edition.content, None if person is None else person.legal_name)
    return on_file


def view_model_of(on_file: EditionOnFile, credential_issuer: CredentialIssuer) -> view_models.ViewModel:
    return view_models.view_model(
        on_file.kind,
        on_file.edition.content or {},
        issuer=credential_issuer.issuer.name,
        number=on_file.document.number,
        address=credential_issuer.document_url(on_file.document.number),
        sha256=on_file.edition.sha256,
        is_newest=on_file.is_newest,
    )


def _view(on_file: EditionOnFile, credential_issuer: CredentialIssuer, paper: Paper) -> DocumentView:
    document, edition = on_file.document, on_file.edition
    at = f"/v1/documents/{document.number}"
    return DocumentView(
        number=document.number,
        kind=on_file.kind,
        title=view_models.headline(on_file.kind, edition.content) if edition.content else "",
        credit_id=document.credit_id,
        award_id=document.award_id,
        status=on_file.status,
        version=edition.version,
        as_at=edition.as_at,
        sha256=edition.sha256,
        json_url=at,
        html_url=f"{at}.html",
        pdf_url=f"{at}.pdf",
        unprintable=paper.lacked(view_model_of(on_file, credential_issuer)) if edition.content else [],
        clr_url=f"{at}.clr" if document.kind == DocumentKind.TRANSCRIPT else None,
        verification_url=credential_issuer.document_url(document.number),
    )


def _edition(
    on_file: EditionOnFile, credential_issuer: CredentialIssuer
) -> dict[str, Any]:  # Any: the fields of EditionView
    return {
        "number": on_file.document.number,
        "kind": on_file.kind,
        "issuer": credential_issuer.issuer.name,
        "version": on_file.edition.version,
        "newest_version": on_file.newest,
        "as_at": on_file.edition.as_at,
        "sha256": on_file.edition.sha256,
        "verification_url": credential_issuer.document_url(on_file.document.number),
        "document": on_file.edition.content or {},
    }


def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def safe(page: Response) -> Response:
    page.headers.update(HEADERS)
    return page
