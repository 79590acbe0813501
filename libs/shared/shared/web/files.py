"""Files over HTTP: uploads as streams of raw bytes, downloads as attachments that no browser runs."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.requests import ClientDisconnect

from shared.errors import DomainError
from shared.files import (
    BadFileName,
    FileEmpty,
    FileNotAsNamed,
    FileTooLarge,
    FileTypeNotAllowed,
    UploadInterrupted,
    UploadTooSlow,
)
from shared.storage import Storage, StorageUnavailable
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


async def attachment(
    session: AsyncSession, storage: Storage, key: str, *, name: str, media_type: str, size: int
) -> StreamingResponse:
    """Return an answer that streams a stored file under this name; `size` in bytes.

    The session is closed: its connection is given back before a store that may hang is asked. Raises
    StorageUnavailable: the file cannot be had.
    """
    await session.close()
    return StreamingResponse(
        await storage.open(key),
        media_type=media_type,
        headers={
            "Content-Length": str(size),
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "sandbox; default-src 'none'",
        },
    )
