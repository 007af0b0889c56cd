"""OpenAI's API as a surface: its paths, and the errors of other paths under `/v1/`."""

from soma.errors.v1 import reasons
from starlette.types import ASGIApp

from gateway.edge.app import Conventions
from gateway.edge.openai.api import Api
from gateway.edge.openai.failures import ERRORS, error_response
from gateway.edge.openai.response_turn import PATH
from gateway.edge.ws.by_protocol import ByProtocol
from services.mesh.surfaces.surface import MOST_BODY_BYTES, Space, Surface

NOT_SERVED = Space(
    tuple(
        f"/v1/{part}"
        for part in (
            *("assistants", "audio", "batches", "containers", "conversations", "evals", "files", "fine_tuning"),
            *("images", "organization", "realtime", "skills", "threads", "uploads", "vector_stores"),
            "videos",
        )
    ),
    "{method} {path} is of a part of OpenAI's API that is not served here.",
    reasons.UNKNOWN_URL,
)
"""Parts of OpenAI's API that are not served. Paths of contracts and of other surfaces are left out."""
UNKNOWN = Space(("/v1",), "Invalid URL ({method} {path})", reasons.UNKNOWN_URL)
"""OpenAI's message for an unknown path."""
CONVENTIONS = Conventions(error_response, UNKNOWN, elapsed=b"openai-processing-ms")


def surface(api: Api, app: ASGIApp, sockets: ASGIApp) -> Surface:
    """The surface of `app`, which refuses a body that is too large by itself, and of the WebSockets of `sockets`.

    Uploads may be as large as any body.
    """
    return Surface(
        name="openai",
        app=ByProtocol(app, sockets),
        sockets=(PATH,),
        paths=tuple(dict.fromkeys(route.path for route in api.routes)),
        streams=("/v1/responses/{response_id}?stream=true",),
        spaces=(NOT_SERVED, UNKNOWN),
        errors=ERRORS,
        max_body_bytes=MOST_BODY_BYTES,
    )
