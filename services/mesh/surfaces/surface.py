"""A surface: the paths and WebSockets of one protocol, the shape of its errors, and its application."""

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
"""Maximum size of a body in bytes. The gateway holds a whole body in memory before it passes it on."""

MOST_CHARACTERS = 2000
"""Maximum number of characters of all paths and spaces of a surface together, because Envoy refuses regular
expressions that are too large."""

_QUERY = re.compile(r"[A-Za-z0-9_.-]+=[A-Za-z0-9_.-]+")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_MESSAGE_PLACEHOLDERS = frozenset({"method", "path"})


@dataclass(frozen=True)
class Space:
    """Paths on which a surface answers 404, because they belong to it and are unknown.

    Attributes:
        prefixes: paths without variables. Each stands for itself and for all paths below it, except those of contracts
            and of other surfaces.
        message: the message of the 404; `{method}` and `{path}` stand for those of the request.
        reason: a reason that the contracts declare.
    """

    prefixes: tuple[str, ...]
    message: str = "no such path"
    reason: str = reasons.NO_SUCH_PATH


@dataclass(frozen=True)
class Surface:
    """A protocol over HTTP beside the contract. The message `Surface` of the contract describes each attribute.

    Attributes:
        app: an ASGI application for the paths and the WebSockets.

    Raises:
        ValueError: a path is not a template, or the error shape is not valid.
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
        """The message with which an instance of `service` announces the surface."""
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
    """A path that answers a GET with a stream; if `query` is given, only requests with this query."""

    template: Template
    query: tuple[str, str] | None


def stream(text: str) -> Stream:
    """The stream in a declaration such as `/v1/jobs/{id}?stream=true`.

    Raises:
        ValueError: the text does not declare a stream.
    """
    path, asked, query = text.partition("?")
    if asked and not _QUERY.fullmatch(query):
        raise ValueError(f"{text!r} has no query of the form name=value")
    name, _, value = query.partition("=")
    return Stream(declared(path), (name, value) if asked else None)


def templates(surface: pb.Surface) -> list[Template]:
    """The templates of all paths of a surface, including its WebSockets.

    Raises:
        ValueError: a surface may not declare such a path.
    """
    return [declared(text) for text in (*surface.paths, *surface.sockets)]


def prefixes(surface: pb.Surface) -> Sequence[str]:
    """The prefixes of all spaces of a surface."""
    return [prefix for space in surface.spaces for prefix in space.prefixes]


def require_valid(surface: pb.Surface) -> None:
    """Refuse a surface for which the gateway could not make routes.

    Raises:
        ValueError: the surface is not valid; the text says why.
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
        if unknown := set(_PLACEHOLDER.findall(space.message)) - _MESSAGE_PLACEHOLDERS:
            raise ValueError(
                f"a space's message has a placeholder {{{min(unknown)}}}; there are {{method}} and {{path}}"
            )
    if not 0 <= surface.max_body_bytes <= MOST_BODY_BYTES:
        raise ValueError(f"max_body_bytes is {surface.max_body_bytes}, and at most {MOST_BODY_BYTES}")
    read(surface.errors)
