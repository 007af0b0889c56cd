"""Tells the work for a client that the client has disconnected."""

from collections.abc import Callable

EXTENSION = "soma.departure"
"""The key in `extensions` of ASGI's scope. ASGI's own way is a task for each request, which waits on `receive`."""


class Departure:
    """The disconnect of one client; it calls whoever watches it, once."""

    __slots__ = ("_happened", "_watchers")

    def __init__(self) -> None:
        self._happened = False
        self._watchers: set[Callable[[], None]] = set()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when the client disconnects, or now if it has disconnected."""
        if self._happened:
            watcher()
        else:
            self._watchers.add(watcher)

    def unwatch(self, watcher: Callable[[], None]) -> None:
        """Do not call `watcher` any more."""
        self._watchers.discard(watcher)

    def happen(self) -> None:
        """The client has disconnected."""
        self._happened = True
        watchers, self._watchers = self._watchers, set()
        for watcher in watchers:
            watcher()
