"""Files over HTTP: uploads as streams of raw bytes, downloads as attachments that no browser runs."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, Request
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import ClientDisconnect

from shared.errors import DomainError
from shared.file_checks import (
    BadFileName,
    Checked,
    FileEmpty,
    FileNotAsNamed,
    FileTooLarge,
    FileTypeNotAllowed,
    UploadInterrupted,
    UploadTooSlow,
)
from shared.jobs import Work
from shared.storage import StorageUnavailable
from shared.stored_files import read_file
from shared.uploads import Upload
from shared.web.problems import error_responses

UPLOAD_ERRORS: tuple[type[DomainError], ...] = (
    BadFileName,
    FileTypeNotAllowed,
    FileNotAsNamed,
    FileTooLarge,
    FileEmpty,
    UploadInterrupted,
    UploadTooSlow,
    StorageUnavailable,
)

_BINARY = {"schema": {"type": "string", "format": "binary"}}

ATTACHMENT: dict[int | str, dict[str, Any]] = {  # Any: OpenAPI
    200: {"description": "The bytes as they were received", "content": {"*/*": _BINARY}}
} | error_responses(StorageUnavailable)
"""The `responses` of a route that answers with a file."""


def file_body(kinds: str) -> dict[str, Any]:  # Any: OpenAPI
    """Return the `openapi_extra` of a route that takes a file of these kinds."""
    return {
        "requestBody": {
            "required": True,
            "description": f"The file's bytes as they are: {kinds}",
            "content": {"application/octet-stream": _BINARY},
        }
    }


def upload_of(request: Request, filename: str) -> Upload:
    """Return the request's body as an upload; its chunks raise UploadInterrupted where the client leaves."""
    declared = request.headers.get("content-length", "")
    return Upload(filename, int(declared) if declared.isdecimal() else None, _chunks(request))


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise UploadInterrupted("the connection ended before the whole file had come") from None


async def _work_of(request: Request) -> Work:
    return Work(request.app.state.database, request.app.state.resources)


FileWork = Annotated[Work, Depends(_work_of)]
"""What `attachment` reads a file with."""


async def attachment(
    session: AsyncSession, work: Work, key: str, recorded: Checked, *, name: str, media_type: str
) -> StreamingResponse:
    """Return an answer that streams a stored file under this name, as its row has `recorded` it.

    The session is closed: its connection is given back before a store that may hang is asked. Raises
    StorageUnavailable: the file cannot be had, or is not what was received. Where that is known only after the answer
    began, the connection ends before the last of the announced bytes.
    """
    await session.close()
    return StreamingResponse(
        await read_file(work, key, recorded),
        media_type=media_type,
        headers={
            "Content-Length": str(recorded.size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )
