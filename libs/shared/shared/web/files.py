"""Files over HTTP: bytes that stream in as they are, and out again as an attachment that no browser runs."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

from fastapi import Request
from fastapi.responses import StreamingResponse
from starlette.requests import ClientDisconnect

from shared.errors import Refusal
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
from shared.web.problems import refusals

UPLOAD_REFUSALS: tuple[type[Refusal], ...] = (
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
} | refusals(StorageUnavailable)
"""The `responses` of a route that hands out a file."""


def file_body(kinds: str) -> dict[str, Any]:  # Any: OpenAPI
    """The `openapi_extra` of a route that takes a file of these kinds."""
    return {
        "requestBody": {
            "required": True,
            "description": f"The file's bytes as they are: {kinds}",
            "content": {"application/octet-stream": _BINARY},
        }
    }


def upload_of(request: Request, filename: str) -> Upload:
    """The body as a file that is on its way; its chunks raise UploadInterrupted where the caller leaves."""
    declared = request.headers.get("content-length", "")
    return Upload(filename, int(declared) if declared.isdecimal() else None, _chunks(request))


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise UploadInterrupted("the connection ended before the whole file had come") from None


async def attachment(storage: Storage, key: str, *, name: str, media_type: str, size: int) -> StreamingResponse:
    """A stored file under this name; `size` in bytes. Raises StorageUnavailable."""
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
