"""The record a partner fetches by consent, as files. Each fetch is recorded, and no reply is stored anywhere."""

from typing import Any
from uuid import UUID

import orjson
from fastapi import Response

from credentials.adapters.fonts import NotPrintable
from credentials.adapters.paper import TypesetterBusy
from credentials.api.bodies import A_CREDENTIAL, BYTES
from credentials.api.documents import Printing, view_model_of
from credentials.api.public import CREDENTIAL
from credentials.api.records import Issuing
from credentials.domain.documents import NothingSigned, RecordChanging
from credentials.exchange.api.sharing import partner_of
from credentials.exchange.commands import shared_files
from credentials.exchange.domain.sharing import PaperShowsMore, ShareExpired, ShareWithdrawn
from shared.secret_box import SigningKeyUnreadable
from shared.web import CallerOf, DatabaseOf, Router, error_responses

router = Router(tags=["sharing"])

_PDF = "application/pdf"
_RECORD: dict[str, Any] = {
    "content": {CREDENTIAL: A_CREDENTIAL},
    "description": "A signed ClrCredential",
}  # Any: OpenAPI
_PAPER: dict[str, Any] = {  # Any: OpenAPI
    "content": {_PDF: BYTES},
    "description": "The transcript, tagged (PDF/UA-1) and archival, A4",
}
_HEADERS = {"Cache-Control": "no-store"}


@router.get(
    "/v1/shared-records/{share_id}.clr",
    operation_id="fetch_shared_learner_record",
    response_class=Response,
    responses={200: _RECORD}
    | error_responses(ShareWithdrawn, ShareExpired, NothingSigned, RecordChanging, SigningKeyUnreadable),
)
async def fetch_shared_learner_record(
    share_id: UUID, database: DatabaseOf, caller: CallerOf, credential_issuer: Issuing
) -> Response:
    """What the learner consented to as a Comprehensive Learner Record 2.0 with the signed badges inside; `partial`
    where they left something out. The learner sees each fetch. It is revoked when a newer transcript takes its place
    or something on it is withdrawn: fetch it anew."""
    record = await shared_files.learner_record(database.transaction, credential_issuer, partner_of(caller), share_id)
    return Response(orjson.dumps(record, option=orjson.OPT_SORT_KEYS), media_type=CREDENTIAL, headers=_HEADERS)


@router.get(
    "/v1/shared-records/{share_id}.pdf",
    operation_id="fetch_shared_paper",
    response_class=Response,
    responses={200: _PAPER}
    | error_responses(ShareWithdrawn, ShareExpired, PaperShowsMore, NotPrintable, TypesetterBusy),
)
async def fetch_shared_paper(
    share_id: UUID, database: DatabaseOf, caller: CallerOf, credential_issuer: Issuing, paper: Printing
) -> Response:
    """The learner's own transcript on paper, where they consented to the whole record with name, marks and attempts:
    paper shows all of these. The learner sees each fetch."""
    client_id = partner_of(caller)
    async with database.transaction() as session:
        on_file = await shared_files.consented_transcript(session, client_id, share_id)
    file = await paper.pdf(
        view_model_of(on_file, credential_issuer), on_file.edition.as_at
    )  # outside the lock, so that a withdrawal does not wait for this
    async with database.transaction() as session:
        await shared_files.hand_out_paper(session, client_id, share_id, on_file.edition, file)
    disposition = f'inline; filename="transcript-{on_file.document.number}.pdf"'
    return Response(file, media_type=_PDF, headers={**_HEADERS, "Content-Disposition": disposition})
