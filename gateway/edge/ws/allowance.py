"""The limit of messages that a client may send in a minute."""

MINUTE = 60.0


class Allowance:
    """Counts messages in minutes that begin with the connection; `now` is any clock's seconds."""

    def __init__(self, per_minute: int, now: float) -> None:
        self._per_minute = per_minute
        self._until = now + MINUTE
        self._left = per_minute

    def take(self, now: float) -> float:
        """Count one message; returns 0 if it is allowed, else the seconds until one is."""
        if now >= self._until:
            self._until = now + MINUTE
            self._left = self._per_minute
        if self._left == 0:
            return self._until - now
        self._left -= 1
        return 0.0
