"""The longest texts an editor may store: published and found, whatever their letters, and no search index too long."""

from collections.abc import Iterator
from itertools import chain, cycle, product

import pytest
from sqlalchemy import text

from catalogue.commands.listings import INDEXED_BYTES

from .writing import publish


def letters(first: int, count: int) -> list[str]:
    return [letter for letter in map(chr, range(first, first + count)) if letter.isalpha()]


ALPHABETS = {
    1: [chr(one) for one in range(ord("a"), ord("z") + 1)] + list("0123456789"),
    2: letters(0x400, 0x180) + letters(0x531, 0x60) + letters(0x5D0, 27),  # Cyrillic, Armenian, Hebrew
    3: letters(0x4E00, 0x51A0),  # CJK
    4: letters(0x20000, 0xA6D0),  # CJK, Extension B
}


def words(alphabet: list[str], length: int) -> Iterator[str]:
    """Words of so many letters, as different as there are."""
    return map("".join, cycle(product(alphabet, repeat=length)))


def compounds(size: int, length: int, parts: int) -> Iterator[str]:
    of = words(ALPHABETS[size], length)
    while True:
        yield "-".join(next(of) for _ in range(parts))


def addresses(length: int) -> Iterator[str]:
    """Each is indexed whole, by its host and by its path."""
    return (f"{word}.uk/{word}" for word in words(ALPHABETS[1], length))


def filled(of: Iterator[str], characters: int, most_bytes: int = 1_000_000) -> str:
    """Words up to so many characters and bytes."""
    found, length, weight = list[str](), 0, 0
    while True:
        word = next(of) + " "
        length, weight = length + len(word), weight + len(word.encode())
        if length > characters or weight > most_bytes:
            return "".join(found).strip()
        found.append(word)


@pytest.mark.parametrize("parts", [2, 15])
@pytest.mark.parametrize("length", [1, 2, 4, 9])
@pytest.mark.parametrize("size", ALPHABETS)
async def test_words_that_take_the_most_of_an_index_are_published(editor, session, size, length, parts) -> None:
    of = compounds(size, length, parts)
    await publish_filled(editor, of, outcomes=INDEXED_BYTES["C"] // (2000 * size), most_bytes=INDEXED_BYTES["D"])
    if size > 2 and length == 4:
        assert await bytes_indexed(session) > 500_000  # as long as this, it is a test of the limit


@pytest.mark.parametrize("length", [2, 3, 4])
async def test_addresses_take_no_more_of_an_index(editor, session, length) -> None:
    await publish_filled(editor, addresses(length), outcomes=30, most_bytes=INDEXED_BYTES["D"])


@pytest.mark.parametrize("size", ALPHABETS)
async def test_of_longer_texts_the_beginning_is_indexed(editor, anyone, size) -> None:
    of = compounds(size, 4, 2)
    await publish_filled(editor, chain(["first"], of), outcomes=50 // size, most_bytes=1_000_000)
    assert (await anyone.get("/v1/courses", params={"q": "beginning first"})).json()["total"] == 1
    assert (await anyone.get("/v1/courses", params={"q": "end"})).json()["total"] == 0


async def publish_filled(editor, of: Iterator[str], *, outcomes: int, most_bytes: int) -> None:
    description = "beginning " + filled(of, 19_000, most_bytes - 1000)
    text_ = filled(of, 190_000, most_bytes - 1000 - len(description.encode()))
    unit = {"position": 1, "title": "A unit", "minutes": 1, "text": f"{text_} end"}
    await publish(
        editor,
        title=filled(of, 200),
        summary=filled(of, 2000),
        description=description,
        outcomes=[{"code": f"LO{n}", "text": filled(of, 2000)} for n in range(outcomes)],
        units=[unit],
    )


async def bytes_indexed(session) -> int:
    return await session.scalar(text("select octet_length(tsvectorsend(search)) from listings"))
