"""How long to wait before something that ended is started again."""

from dataclasses import dataclass

FIRST = 0.2
LONGEST = 10.0
HEALTHY = 30.0
# After so many doublings the delay is the longest one anyway, and the power would be too large for a float.
MOST_DOUBLINGS = 16


@dataclass(frozen=True)
class Backoff:
    """A delay that doubles from 0.2 s to 10 s; it starts at 0.2 s again after 30 s without a failure."""

    failures: int = 0

    @property
    def delay(self) -> float:
        """Seconds to wait before the next start."""
        doublings = min(max(0, self.failures - 1), MOST_DOUBLINGS)
        return min(FIRST * 2.0**doublings, LONGEST)

    def failed(self, well_for: float) -> "Backoff":
        """The state after one more failure, which came after `well_for` seconds without one."""
        return Backoff(1 if well_for >= HEALTHY else self.failures + 1)
