"""Which handler answers a path, and what to say where none does."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.types import Receive

from gateway.edge.headers import Headers
from gateway.edge.reply import Reply
from services.mesh.errors import NotFound, Unimplemented

MODEL_PREFIX = "/v1/models/"


@dataclass(frozen=True, slots=True)
class Visit:
    """One request being answered; `name` is what its path names, where it names something."""

    headers: Headers
    receive: Receive
    reply: Reply
    name: str = ""


Handler = Callable[[Visit], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Route:
    """A handler, the one method it answers, and the path metrics know it by."""

    method: str
    template: str
    handler: Handler


UNKNOWN = "unknown"


class Routes:
    """The edge's paths."""

    def __init__(self, chat: Handler, list_models: Handler, retrieve_model: Handler) -> None:
        self._fixed = {
            "/v1/chat/completions": Route("POST", "/v1/chat/completions", chat),
            "/v1/models": Route("GET", "/v1/models", list_models),
        }
        self._model = Route("GET", "/v1/models/{model}", retrieve_model)

    def find(self, path: str) -> tuple[Route | None, str]:
        """The route of a path, and what the path names (a model's name may hold slashes)."""
        route = self._fixed.get(path)
        if route is not None:
            return route, ""
        if path.startswith(MODEL_PREFIX) and len(path) > len(MODEL_PREFIX):
            return self._model, path[len(MODEL_PREFIX) :]
        return None, ""


def unknown_url(method: str, path: str) -> NotFound:
    """The answer to a path nobody has."""
    return NotFound(f"Invalid URL ({method} {path})", reason="UNKNOWN_URL")


def wrong_method(method: str, path: str, route: Route) -> Unimplemented:
    """The answer to a known path asked in another way."""
    message = f"Not allowed to {method} on {path}."
    return Unimplemented(message, reason="METHOD_NOT_SUPPORTED", metadata={"allow": route.method})
