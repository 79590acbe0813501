"""A FastAPI that answers every GET with the same bytes: `python -m bench.bare <port> <file>`."""

import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response


def app(body: bytes) -> FastAPI:
    served = FastAPI(openapi_url=None)

    @served.get("/{path:path}")
    async def answer(path: str) -> Response:
        return Response(body, media_type="application/json", headers={"X-Path": path[:20]})

    return served


if __name__ == "__main__":
    uvicorn.run(
        app(Path(sys.argv[2]).read_bytes()),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=False,
        log_level="error",
    )
