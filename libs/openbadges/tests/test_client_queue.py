"""Many behind one address: who waits for whom."""

import asyncio
from typing import Any

from openbadges.verification.limits import Limits
from openbadges.verification.slots import ClientQueue, VerifierBusy


class Class:
    """Of one address; each waits until it comes and says so."""

    def __init__(self, **limits: Any) -> None:
        self.queue = ClientQueue(Limits(**limits))
        self.served: list[str] = []

    async def hand_in(self, name: str, size: int) -> None:
        try:
            async with self.queue.of("one address", b"{" + b" " * size):
                self.served.append(name)
                await asyncio.sleep(0)
        except VerifierBusy:
            self.served.append(f"{name} must come again")


async def test_small_ones_are_not_sent_away_for_a_large_one() -> None:
    room = Class()
    sizes = {"large": 400_000, "larger": 500_000} | {f"small {one}": 3_000 for one in range(12)}
    await asyncio.gather(*(room.hand_in(name, size) for name, size in sizes.items()))
    assert room.served == [
        "large",
        "larger must come again",
        *(f"small {one}" for one in range(12)),
    ] or room.served == [
        "larger must come again",
        "large",
        *(f"small {one}" for one in range(12)),
    ]
    assert room.queue._lines == {}


async def test_in_a_line_that_is_too_long_the_one_that_takes_most_makes_room() -> None:
    room = Class(waiting_of_one=2.0, bytes_a_second=100_000)
    sizes = {"first": 100_000, "long": 90_000, "middling": 60_000, "short": 30_000}
    await asyncio.gather(*(room.hand_in(name, size) for name, size in sizes.items()))
    assert sorted(room.served) == ["first", "long must come again", "middling", "short"]
    assert room.served.index("short") < room.served.index("middling")


async def test_a_line_of_the_smallest_there_are_ends_too() -> None:
    room = Class()
    await asyncio.gather(*(room.hand_in(str(one), 0) for one in range(500)))
    sent_away = sum(name.endswith("must come again") for name in room.served)
    assert 200 < sent_away < 400


async def test_one_alone_has_its_turn_however_large() -> None:
    room = Class(waiting_of_one=0.5)
    await room.hand_in("alone", 1_000_000)
    assert room.served == ["alone"]


async def test_whoever_leaves_the_line_leaves_the_turn_to_the_next() -> None:
    room = Class()
    line = [asyncio.create_task(room.hand_in(str(one), 10)) for one in range(5)]
    await asyncio.sleep(0)
    for one in (0, 2):
        line[one].cancel()
    await asyncio.gather(*line, return_exceptions=True)
    assert [name for name in room.served if name != "0"] == ["1", "3", "4"]
    assert room.queue._lines == {}
