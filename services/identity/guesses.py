"""Wrong keys and tokens, counted by the address that they come from and by the key that they guess at.

Every credential is checked, however many were wrong before: whoever has the right one is let in while others guess at
it. A wrong one that comes after too many others is answered with when to come back, and no longer with why it is wrong.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil

import structlog
from prometheus_client import Counter
from soma.errors.v1 import reasons

from services.mesh.call import errors

log = structlog.get_logger("identity")

_THROTTLED = Counter("soma_guesses_throttled_total", "Wrong keys and tokens that came after too many others", ["by"])
WINDOW_SECONDS = 60.0
# Nobody mistypes one key more often.
KEY_GUESSES = 10
MOST_COUNTED = 10_000
_GUESSED = frozenset({reasons.CREDENTIAL_INVALID, reasons.TOKEN_INVALID})


class Guesses:
    """Counts wrong credentials of the last minute, in this process; `most` are allowed from one address."""

    def __init__(self, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._now = now
        self._windows: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    @contextmanager
    def counted(self, source: str, key_id: str = "") -> Iterator[None]:
        """Check a credential in the block, which came from an address and may name a key.

        Raises:
            ResourceExhausted: it is wrong, and too many others were.
        """
        try:
            yield
        except errors.Unauthenticated as error:
            if error.reason not in _GUESSED:
                raise
            waits = [
                self._count("key", key_id, KEY_GUESSES) if key_id else 0.0,
                self._count("address", source, self._most) if source else 0.0,
            ]
            if not any(waits):
                raise
            seconds = max(waits)
            raise errors.ResourceExhausted(
                f"there were too many wrong keys or tokens; try again in {ceil(seconds)} seconds",
                reason=reasons.TOO_MANY_ATTEMPTS,
                retry_after=max(seconds, 1.0),
            ) from error

    def _count(self, by: str, what: str, most: int) -> float:
        """Count one; returns for how many seconds there are too many."""
        now, name = self._now(), (by, what)
        began, count = self._windows.pop(name, (now, 0))
        if now - began >= WINDOW_SECONDS:
            began, count = now, 0
        self._windows[name] = began, count + 1
        if len(self._windows) > MOST_COUNTED:
            self._windows.popitem(last=False)
        if count < most:
            return 0.0
        if count == most:
            log.warning("somebody guesses keys", by=by, what=what)
        _THROTTLED.labels(by).inc()
        return began + WINDOW_SECONDS - now
