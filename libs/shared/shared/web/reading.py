"""Public reads: answers with an ETag, and 304 Not Modified where the client has the content already."""

import hashlib

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel


class KeySetResponse(JSONResponse):
    """An answer with the media type of a JSON Web Key Set (RFC 7517)."""

    media_type = "application/jwk-set+json"


def conditional(
    request: Request,
    content: BaseModel | bytes,
    *,
    max_age_seconds: int = 60,
    media_type: str = "application/json",
) -> Response:
    """Return the content with its ETag, or 304 Not Modified if the request's If-None-Match names it."""
    body = content if isinstance(content, bytes) else content.model_dump_json().encode()
    etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={max_age_seconds}"}
    asked = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if etag in asked or "*" in asked:
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=media_type)
