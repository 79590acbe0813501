"""An empty catalogue that was loaded once is reported in one line, with what to do."""

from contextlib import asynccontextmanager

import httpx
import pytest

from embedded import journey, platform
from embedded.services import Deployment


@pytest.mark.parametrize("items", [[], [{"slug": "a"}]], ids=["empty", "not"])
async def test_an_emptied_catalogue_is_reported_in_one_line(tmp_path, monkeypatch, capsys, items):
    @asynccontextmanager
    async def connected(base_url):
        def answer(request):
            assert request.url.path == "/v1/courses"
            return httpx.Response(200, json={"items": items, "next_cursor": None})

        async with httpx.AsyncClient(base_url=base_url, transport=httpx.MockTransport(answer)) as client:
            yield client

    monkeypatch.setattr(journey, "connected", connected)
    deployment = Deployment(tmp_path, {"gateway": 9}, {}, secrets={})
    (tmp_path / platform.LOADED).write_text("this cluster")
    await platform.load_catalogue(deployment, {}, "this cluster")
    printed = capsys.readouterr().out.splitlines()
    if items:
        assert printed == []
    else:
        [line] = printed
        assert line.startswith("No course is on sale")
        assert str(tmp_path / platform.LOADED) in line
