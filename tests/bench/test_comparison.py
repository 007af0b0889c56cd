"""Two sides are measured in turn, and a side counts as worse only if it is worse in every round."""

import pytest

from bench.comparison import Measured, Quantity, Sides, compared

TIME, RATE = Quantity("time", "ms", digits=1), Quantity("rate", "req/s", more=True)


async def test_sides_take_turns_and_the_first_round_of_each_only_warms_up() -> None:
    asked: list[str] = []

    async def measure(side: str) -> Measured:
        asked.append(side)
        return {TIME: float(len(asked))}

    rows = await Sides("here", "there", "c0ffee1", 2).by_turns(measure)
    assert asked == ["here", "there"] * 3
    # The pairs are (3, 4) and (5, 6).
    assert [(row.figure, row.here, row.peer) for row in rows] == [("time", "4.0 ms", "5.0 ms at c0ffee1")]
    assert rows[0].ratio == "0.79× (0.75 to 0.83)"


async def test_every_round_counts_without_a_warm_up() -> None:
    asked: list[str] = []

    async def measure(side: str) -> Measured:
        asked.append(side)
        return {RATE: 10.0}

    await Sides("here", "there", "c0ffee1", 2).by_turns(measure, warm=False)
    assert asked == ["here", "there"] * 2


@pytest.mark.parametrize(
    ("pairs", "met"),
    [
        ([(12.0, 10.0), (11.0, 10.0), (15.0, 10.0)], False),
        ([(12.0, 10.0), (10.4, 10.0), (15.0, 10.0)], True),
        ([(5.0, 10.0), (6.0, 10.0)], True),
    ],
)
def test_a_time_misses_its_target_when_it_is_longer_in_every_round(pairs: list[tuple[float, float]], met: bool) -> None:
    assert compared(TIME, pairs, "c0ffee1").met is met


@pytest.mark.parametrize(
    ("pairs", "met"),
    [
        ([(900.0, 1000.0), (500.0, 1000.0)], False),
        ([(900.0, 1000.0), (960.0, 1000.0)], True),
        ([(1500.0, 1000.0), (2000.0, 1000.0)], True),
    ],
)
def test_a_rate_misses_its_target_when_it_is_lower_in_every_round(pairs: list[tuple[float, float]], met: bool) -> None:
    row = compared(RATE, pairs, "c0ffee1")
    assert (row.met, row.target) == (met, "≥ 0.95×")


@pytest.mark.parametrize(("pairs", "met"), [([(7.0, 10.0), (7.4, 10.0), (9.0, 10.0)], True), ([(7.6, 10.0)], False)])
def test_a_quantity_with_a_target_of_its_own_meets_it_by_its_median(
    pairs: list[tuple[float, float]], met: bool
) -> None:
    row = compared(Quantity("time", "ms", at_most=0.75), pairs, "c0ffee1")
    assert (row.met, row.target) == (met, "≤ 0.75×")
