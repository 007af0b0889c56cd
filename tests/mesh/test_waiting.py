"""Waiting for a condition: it is checked until it holds, or until the time is over; the error says what was seen."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest

from services.mesh.testing.waiting import until


def counting() -> Iterator[int]:
    yield from range(1000)


@pytest.mark.parametrize("awaited", [False, True])
async def test_the_condition_is_checked_until_it_holds(awaited: bool) -> None:
    numbers = counting()

    def third() -> bool:
        return next(numbers) == 2

    async def later() -> bool:
        return third()

    await until(later if awaited else third, seconds=5)
    assert next(numbers) == 3


async def test_the_error_names_the_condition_and_its_last_result() -> None:
    numbers = counting()
    with pytest.raises(TimeoutError) as late:
        await until(lambda: next(numbers) and None, "the tide", seconds=0.05, seen=lambda: "low water")
    assert str(late.value) == "not within 0.05 s: the tide; seen last: None; now: low water"


async def never() -> list[str]:
    return []


def fewer(than: int, *, of: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("condition", "said"),
    [
        (never, "never; seen last: []"),
        (partial(fewer, 3, of="calls"), "fewer(3, of='calls'); seen last: False"),
    ],
)
async def test_a_condition_without_a_description_is_named_by_its_function(
    condition: Callable[[], object], said: str
) -> None:
    with pytest.raises(TimeoutError) as late:
        await until(condition, seconds=0.02)
    assert said in str(late.value)


async def test_a_condition_without_a_name_is_named_by_its_source() -> None:
    tide = 3
    with pytest.raises(TimeoutError) as late:
        await until(lambda: tide > 4, seconds=0.02)
    assert "lambda: tide > 4" in str(late.value)


async def test_a_condition_that_hangs_ends_at_the_time_limit() -> None:
    with pytest.raises(TimeoutError, match="did not answer once"):
        await until(asyncio.Event().wait, seconds=0.05)


async def test_an_exception_of_the_condition_is_raised() -> None:
    def broken() -> Awaitable[bool]:
        raise ValueError("no such part")

    async def late() -> bool:
        raise TimeoutError("its own")

    with pytest.raises(ValueError, match="no such part"):
        await until(broken)
    with pytest.raises(TimeoutError, match=r"^its own$"):
        await until(late)
