"""A surface: the paths and WebSockets of one protocol, the shape of its errors, and the application behind them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from soma.errors.v1 import reasons
from soma.mesh.v1 import surface_pb2 as pb

from services.mesh.surfaces.error_shape import REST, ErrorShape, read
from services.mesh.surfaces.template import Template, declared, plain

if TYPE_CHECKING:
    from starlette.types import ASGIApp

MOST_BODY_BYTES = 64 * 1024 * 1024
"""The gateway holds a whole body before it passes it on, and no larger one."""

MOST_CHARACTERS = 2000
"""Of all paths and spaces of a surface together: they become expressions, and Envoy takes none that are too large."""

_QUERY = re.compile(r"[A-Za-z0-9_.-]+=[A-Za-z0-9_.-]+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_OF_A_REQUEST = frozenset({"method", "path"})


@dataclass(frozen=True)
class Space:
    """Where unknown paths belong to a surface.

    Attributes:
        prefixes: paths without variables, each for itself and all below it that no contract and no other surface has.
        message: of the 404; `{method}` and `{path}` stand for those of the request.
        reason: one the contracts declare.
    """

    prefixes: tuple[str, ...]
    message: str = "no such path"
    reason: str = reasons.NO_SUCH_PATH


@dataclass(frozen=True)
class Surface:
    """What a service speaks over HTTP beside its contract; `Surface` of the contract says what each attribute means.

    Attributes:
        app: an ASGI application for the paths, and for the WebSockets where there are any.

    Raises:
        ValueError: a path is no template, or the error shape is not as it has to be.
    """

    name: str
    app: "ASGIApp"
    paths: tuple[str, ...] = ()
    sockets: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    spaces: tuple[Space, ...] = ()
    errors: ErrorShape = REST
    max_body_bytes: int = 0

    def __post_init__(self) -> None:
        require_valid(self.announced("service"))

    def announced(self, service: str) -> pb.Surface:
        """It, as an instance announces it for a service."""
        return pb.Surface(
            service=service,
            name=self.name,
            paths=self.paths,
            sockets=self.sockets,
            streams=self.streams,
            spaces=[pb.SurfaceSpace(prefixes=s.prefixes, message=s.message, reason=s.reason) for s in self.spaces],
            errors=self.errors.announced(),
            max_body_bytes=self.max_body_bytes,
        )


@dataclass(frozen=True)
class Stream:
    """A path that is answered with a stream by GET; with the query `query`, where that is not empty, only."""

    template: Template
    query: tuple[str, str] | None


def stream(text: str) -> Stream:
    """A stream as a surface declares it, such as `/v1/jobs/{id}?stream=true`.

    Raises:
        ValueError: it is none.
    """
    path, asked, query = text.partition("?")
    if asked and not _QUERY.fullmatch(query):
        raise ValueError(f"{text!r} has no query of the form name=value")
    name, _, value = query.partition("=")
    return Stream(declared(path), (name, value) if asked else None)


def templates(surface: pb.Surface) -> list[Template]:
    """Of all its paths: those for HTTP, and those of its WebSockets.

    Raises:
        ValueError: one is none that a surface may declare.
    """
    return [declared(text) for text in (*surface.paths, *surface.sockets)]


def prefixes(surface: pb.Surface) -> Sequence[str]:
    """Of all its spaces."""
    return [prefix for space in surface.spaces for prefix in space.prefixes]


def require_valid(surface: pb.Surface) -> None:
    """Refuse what the gateway could make no routes of.

    Raises:
        ValueError: what is wrong with it.
    """
    if not templates(surface):
        raise ValueError("it has no paths")
    if sum(map(len, (*surface.paths, *surface.sockets, *surface.streams, *prefixes(surface)))) > MOST_CHARACTERS:
        raise ValueError(f"its paths and spaces have more than {MOST_CHARACTERS} characters together")
    for each in surface.streams:
        if stream(each).template.text not in surface.paths:
            raise ValueError(f"{each!r} is a stream, and {stream(each).template.text!r} is not among its paths")
    for space in surface.spaces:
        for prefix in space.prefixes:
            plain(prefix)
        if unknown := set(_PLACEHOLDER.findall(space.message)) - _OF_A_REQUEST:
            raise ValueError(
                f"a space's message has a placeholder {{{min(unknown)}}}; there are {{method}} and {{path}}"
            )
    if not 0 <= surface.max_body_bytes <= MOST_BODY_BYTES:
        raise ValueError(f"max_body_bytes is {surface.max_body_bytes}, and at most {MOST_BODY_BYTES}")
    read(surface.errors)
