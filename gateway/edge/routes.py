"""Finds the handler of a path, and makes the errors for paths without one."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from soma.errors.v1 import reasons
from starlette.types import Receive

from gateway.edge.headers import Headers
from gateway.edge.reply import Reply
from services.mesh.call.errors import NotFound, Unimplemented
from services.mesh.surfaces.surface import Space
from services.mesh.transport.departure import Departure


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its reply; `name` is the variable part of the path, if there is one, and `query` is not decoded."""

    headers: Headers
    receive: Receive
    departure: Departure
    reply: Reply
    name: str = ""
    query: bytes = b""


Handler = Callable[[Exchange], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """A handler, the one method that it answers, and the template of its path, which is also its name in metrics.

    `slashes`: the variable at the end of the path may contain slashes, as names of models do.
    """

    method: str
    template: str
    handler: Handler
    slashes: bool = False

    @property
    def path(self) -> str:
        """The path in the form of a surface's declaration."""
        return f"{self.template.removesuffix('}')}=**}}" if self.slashes else self.template


UNKNOWN = "unknown"


class Routes:
    """The edge's paths, each with the routes of its methods."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.all = tuple(routes)
        self._fixed: dict[str, list[Route]] = {}
        self._patterns: list[tuple[str, str, list[Route]]] = []
        for route in self.all:
            self._add(route)

    def find(self, path: str) -> tuple[Sequence[Route], str]:
        """The routes of a path, and the value of its variable part; no routes if the path is unknown."""
        routes = self._fixed.get(path)
        if routes is not None:
            return routes, ""
        for before, after, routes in self._patterns:
            if path.startswith(before) and path.endswith(after) and len(path) > len(before) + len(after):
                return routes, path[len(before) : len(path) - len(after)]
        return (), ""

    def _add(self, route: Route) -> None:
        before, braced, rest = route.template.partition("{")
        if not braced:
            self._fixed.setdefault(route.template, []).append(route)
            return
        after = rest.partition("}")[2]
        for known_before, known_after, routes in self._patterns:
            if (known_before, known_after) == (before, after):
                routes.append(route)
                return
        self._patterns.append((before, after, [route]))
        # A longer pattern is more specific, so it is tried first.
        self._patterns.sort(key=lambda pattern: -len(pattern[0] + pattern[1]))


def unknown_path(space: Space, method: str, path: str) -> NotFound:
    """The error of an unknown path, in the words of its space."""
    return NotFound(space.message.format(method=method, path=path), reason=space.reason)


def wrong_method(method: str, path: str, routes: Iterable[Route]) -> Unimplemented:
    """The error of a known path that does not have this method."""
    message = f"Not allowed to {method} on {path}."
    return Unimplemented(
        message, reason=reasons.METHOD_NOT_SUPPORTED, metadata={"allow": ", ".join(route.method for route in routes)}
    )
