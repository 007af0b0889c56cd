"""Compares two sides that are measured in turn: their medians, their ratio, and differences larger than noise."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bench.table import Row

# A side counts as worse if it is worse by this factor in every single round: noise of the machine differs from round to
# round, but the effect of a code change does not.
NOISE = 1.05

Side = TypeVar("Side")


@dataclass(frozen=True)
class Quantity:
    """A quantity measured in every round: its name, its unit, and whether a larger value is better.

    Attributes:
        at_most: the median of the ratios, here to there, that is the target; if None, the target is not to be worse.
    """

    name: str
    unit: str
    more: bool = False
    digits: int = 0
    at_most: float | None = None

    def text(self, value: float) -> str:
        """A value with its unit, for people."""
        return f"{value:,.{self.digits}f} {self.unit}"


Measured = Mapping[Quantity, float]


@dataclass(frozen=True)
class Sides(Generic[Side]):
    """This side and the other side with its name, and the number of rounds."""

    here: Side
    there: Side
    name: str
    rounds: int

    async def by_turns(self, measure: Callable[[Side], Awaitable[Measured]], *, warm: bool = True) -> list[Row]:
        """Measure the two sides in turn; return a row for each quantity.

        Args:
            measure: measures one round on one side.
            warm: whether to discard the first round of each side as a warm-up.
        """
        found: dict[Quantity, list[tuple[float, float]]] = {}
        for round_ in range(-1 if warm else 0, self.rounds):
            here, there = await measure(self.here), await measure(self.there)
            if round_ >= 0:
                for quantity, value in here.items():
                    found.setdefault(quantity, []).append((value, there[quantity]))
        return [compared(quantity, pairs, self.name) for quantity, pairs in found.items()]


def compared(quantity: Quantity, pairs: Sequence[tuple[float, float]], name: str) -> Row:
    """The row of a quantity, from pairs of values (here, there) of the same round.

    A quantity without a target of its own misses its target if this side is worse by more than the noise in every pair.
    """
    ratios = sorted(here / there for here, there in pairs)
    here, there = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratio = statistics.median(ratios)
    # The pair in which this side is best.
    best = 1 / ratios[-1] if quantity.more else ratios[0]
    target = f"≥ {1 / NOISE:.2f}×" if quantity.more else f"≤ {NOISE}×"
    met = best <= NOISE
    if quantity.at_most is not None:
        target, met = f"≤ {quantity.at_most}×", ratio <= quantity.at_most
    return Row(
        quantity.name,
        quantity.text(here),
        f"{quantity.text(there)} at {name}",
        f"{ratio:.2f}× ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        target,
        met,
    )
