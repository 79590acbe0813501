"""Every kind of file store: a folder, memory, and S3 as a server speaks it over HTTP."""

import subprocess
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from embedded import ports
from shared.storage import ObjectStorage, open_storage

BUCKET = "submissions"


@pytest.fixture(scope="session")
def s3(tmp_path_factory) -> Iterator[dict[str, str]]:
    """What a service's environment says of an S3-compatible server that is running (moto's)."""
    address = f"http://127.0.0.1:{(port := ports.suggest(1))}"
    folder = tmp_path_factory.mktemp("s3")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=log,
            stderr=log,
            cwd=folder,
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                httpx.put(f"{address}/{BUCKET}").raise_for_status()
                break
            except httpx.TransportError:
                assert server.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.1)
        yield {
            "AWS_ENDPOINT_URL": address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "platform",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture(params=["folder", "memory", "s3"])
def storage(request, tmp_path, monkeypatch) -> ObjectStorage:
    match request.param:
        case "folder":
            (tmp_path / "a folder").mkdir()
            return open_storage(f"file://{tmp_path}/a%20folder")
        case "memory":
            return open_storage("memory:///")
        case _:
            for name, value in request.getfixturevalue("s3").items():
                monkeypatch.setenv(name, value)
            return open_storage(f"s3://{BUCKET}/{uuid4()}")
