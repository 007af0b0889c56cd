"""How long to wait before what ended is started again."""

from dataclasses import dataclass

FIRST = 0.2
LONGEST = 10.0
HEALTHY = 30.0
# Past this the delay is the longest anyway, and the power would outgrow a float.
MOST_DOUBLINGS = 16


@dataclass(frozen=True)
class Backoff:
    """Doubles from 0.2 s to 10 s; what was well for 30 s starts over at 0.2 s."""

    failures: int = 0

    @property
    def delay(self) -> float:
        """Seconds to wait before the next start."""
        doublings = min(max(0, self.failures - 1), MOST_DOUBLINGS)
        return min(FIRST * 2.0**doublings, LONGEST)

    def failed(self, well_for: float) -> "Backoff":
        """The state after one more end of what had been well for `well_for` seconds."""
        return Backoff(1 if well_for >= HEALTHY else self.failures + 1)
