"""Anthropic's API as a surface: its paths, and the errors of other paths under `/v1/messages`."""

from soma.errors.v1 import reasons
from starlette.types import ASGIApp

from gateway.edge.anthropic.api import Api
from gateway.edge.anthropic.failures import ERRORS, error_response
from gateway.edge.app import Conventions
from gateway.edge.body import DRAINED
from services.mesh.surfaces.surface import MOST_BODY_BYTES, Space, Surface

UNKNOWN = Space(("/v1/messages",), "{method} {path} is not served here.", reasons.UNKNOWN_URL)
"""The parts of the API that are not served, such as batches."""
CONVENTIONS = Conventions(error_response, UNKNOWN, elapsed=b"", identity=(b"request-id", b"x-request-id"))


def surface(api: Api, app: ASGIApp, body_limit_bytes: int) -> Surface:
    """The surface of `app`, which refuses a body that is too large by itself."""
    return Surface(
        name="anthropic",
        app=app,
        paths=tuple(route.path for route in api.routes),
        spaces=(UNKNOWN,),
        errors=ERRORS,
        max_body_bytes=min(DRAINED * body_limit_bytes, MOST_BODY_BYTES),
    )
