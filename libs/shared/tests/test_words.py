"""What does not fit a schema is described in the words of JSON: whoever calls has never seen our types."""

from typing import Annotated, Literal

import httpx
import pytest
from annotated_types import Len
from fastapi import FastAPI
from pydantic import BaseModel, Field, field_validator
from pydantic.dataclasses import dataclass

from shared.web import problems
from shared.web.content import Text


class InnerThing(BaseModel):
    name: Text = Field(min_length=1, max_length=3)


@dataclass
class OtherThing:
    name: str


class OddRequest(BaseModel):
    some: tuple[int, ...] = Field(default=(1,), min_length=1, max_length=2)
    pair: tuple[int, int] = (1, 2)
    several: list[int] = Field(default_factory=lambda: [1], min_length=1, max_length=2)
    kinds: set[int] = Field(default={1}, min_length=1)
    others: Annotated[frozenset[int], Len(1, 2)] = frozenset({1})
    by_name: dict[str, int] = Field(default_factory=lambda: {"a": 1}, min_length=1)
    inner: InnerThing | None = None
    other: OtherThing | None = None
    nothing: None = None
    kind: Literal["a", "b"] = "a"
    judged: str = "fair"
    doubted: str = "fair"

    @field_validator("judged")
    @classmethod
    def is_fair(cls, judged: str) -> str:
        if judged != "fair":
            raise ValueError("it must be fair")
        return judged

    @field_validator("doubted")
    @classmethod
    def is_not_doubted(cls, doubted: str) -> str:
        if doubted != "fair":
            raise AssertionError("it must be fair")
        return doubted


app = FastAPI()
problems.install(app)


@app.post("/v1/wishes")
async def take(body: OddRequest) -> None:
    _ = body


@pytest.mark.parametrize(
    ("field", "sent", "detail"),
    [
        ("some", [], "Array should have at least 1 item"),
        ("some", [1, 2, 3], "Array should have at most 2 items"),
        ("some", 7, "Input should be an array"),
        ("pair", {}, "Input should be an array"),
        ("several", [], "Array should have at least 1 item"),
        ("several", {}, "Input should be an array"),
        ("kinds", [], "Array should have at least 1 item"),
        ("kinds", "x", "Input should be an array"),
        ("others", [], "Array should have at least 1 item"),
        ("others", [1, 2, 3], "Array should have at most 2 items"),
        ("others", 7, "Input should be an array"),
        ("by_name", {}, "Object should have at least 1 item"),
        ("by_name", [], "Input should be an object"),
        ("inner", [], "Input should be an object"),
        ("inner", {"name": ""}, "String should have at least 1 character"),
        ("inner", {"name": "long"}, "String should have at most 3 characters"),
        ("other", 7, "Input should be an object"),
        ("nothing", 7, "Input should be null"),
        ("kind", "c", "Input should be 'a' or 'b'"),
        ("judged", "no", "It must be fair"),
        ("doubted", "no", "It must be fair"),
        (None, [], "Input should be an object"),
    ],
)
async def test_what_does_not_fit_is_described_in_words_of_json(field, sent, detail):
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://platform") as client:
        answer = await client.post("/v1/wishes", json={field: sent} if field else sent)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["message"] == detail
