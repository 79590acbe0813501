"""The demo runs on a platform that is up; what it prints is proved by the journeys in tests/."""

import asyncio
import json

import httpx
import pytest

from embedded import demo


async def test_a_demo_does_not_begin_before_all_courses_are_there(tmp_path):
    (tmp_path / "people.json").write_text(json.dumps({}))
    async with httpx.AsyncClient() as client:
        with pytest.raises(demo.StillLoading, match="wait until"):
            await demo.cast_of(client, tmp_path)


async def test_where_there_is_no_platform_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["demo", "--data", str(tmp_path), "--base-url", "http://platform.invalid"])
    assert await asyncio.to_thread(demo.main) == 1
    assert "`make run` starts it" in capsys.readouterr().err
