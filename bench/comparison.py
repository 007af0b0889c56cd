"""Two sides measured by turns, and what is said of them: their medians, their ratio, and what is more than noise."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from bench.table import Row

# By how much a side must be worse in every single round to be called worse: what a machine does of itself differs from
# one round to the next, and a change in the code does not.
NOISE = 1.05

Side = TypeVar("Side")


@dataclass(frozen=True)
class Quantity:
    """Something measured in every round: its name, its unit, and whether more of it is better."""

    name: str
    unit: str
    more: bool = False
    digits: int = 0

    def text(self, value: float) -> str:
        """A value of it, for people."""
        return f"{value:,.{self.digits}f} {self.unit}"


Measured = Mapping[Quantity, float]


@dataclass(frozen=True)
class Sides(Generic[Side]):
    """What is here, and what is there under the name that people call it; measured in so many rounds."""

    here: Side
    there: Side
    name: str
    rounds: int

    async def by_turns(self, measure: Callable[[Side], Awaitable[Measured]], *, warm: bool = True) -> list[Row]:
        """Measure one side, then the other, and so on; a row for each quantity.

        Args:
            measure: one round on one side.
            warm: whether the first round of each side does not count.
        """
        found: dict[Quantity, list[tuple[float, float]]] = {}
        for round_ in range(-1 if warm else 0, self.rounds):
            here, there = await measure(self.here), await measure(self.there)
            if round_ >= 0:
                for quantity, value in here.items():
                    found.setdefault(quantity, []).append((value, there[quantity]))
        return [compared(quantity, pairs, self.name) for quantity, pairs in found.items()]


def compared(quantity: Quantity, pairs: Sequence[tuple[float, float]], name: str) -> Row:
    """The row of a quantity that was measured in pairs, here and there in the same round.

    The target is missed when each single pair has this side worse by more than the noise.
    """
    ratios = sorted(here / there for here, there in pairs)
    here, there = (statistics.median(side) for side in zip(*pairs, strict=True))
    # The pair that speaks most for this side.
    best = 1 / ratios[-1] if quantity.more else ratios[0]
    return Row(
        quantity.name,
        quantity.text(here),
        f"{quantity.text(there)} at {name}",
        f"{statistics.median(ratios):.2f}× ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        f"≥ {1 / NOISE:.2f}×" if quantity.more else f"≤ {NOISE}×",
        best <= NOISE,
    )
