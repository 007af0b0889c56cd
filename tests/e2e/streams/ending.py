"""How an answer ended for its client."""

from dataclasses import dataclass

import grpc
import httpx
import openai
import somamesh
from websockets.exceptions import ConnectionClosed

from services.mesh.call.status import DETAILS_KEY, from_rpc_error
from tests.e2e.streams.reader import Cut, Refused


@dataclass(frozen=True)
class Ending:
    """What a client saw of an answer.

    Attributes:
        text: the part of the answer that arrived.
        finished: whether the final event came.
        status: the HTTP status, the name of the gRPC code, or the close code of a WebSocket; 0 if there was none.
        reason: the reason of the typed error, as in the contracts; empty if there was none.
        retry_after: seconds that the client should wait; None if the error says nothing.
        raised: the class of the exception of the client's library.
    """

    text: str = ""
    finished: bool = False
    status: int | str = 0
    reason: str = ""
    retry_after: float | None = None
    raised: str = ""

    @property
    def cut(self) -> bool:
        """Whether the answer broke off without a typed error, and its client noticed."""
        return bool(self.raised) and not self.reason


def ending(text: str, error: Exception | None) -> Ending:
    """The end of an answer of which `text` arrived, before the client's library raised `error`.

    Raises:
        Exception: the error itself, if it is of an unexpected class.
    """
    match error:
        case None:
            return Ending(text, finished=True)
        case grpc.aio.AioRpcError():
            typed = from_rpc_error(error)
            status: int | str = typed.code.name
            # Errors that gRPC itself found have no reason of the mesh.
            stated = DETAILS_KEY in dict(error.trailing_metadata() or ())
            reason, retry_after = (typed.reason, typed.facts.retry_after) if stated else ("", None)
        case somamesh.APIError():
            found = error.reason == "STREAM_CUT"
            status, reason, retry_after = error.status, "" if found else error.reason, error.retry_after
        case openai.APIStatusError():
            wait = error.response.headers.get("retry-after")
            status, reason, retry_after = error.status_code, error.code or "", float(wait) if wait else None
        case openai.APIError():
            status, reason, retry_after = 200, error.code or "", None
        case Refused():
            status, reason, retry_after = error.status, error.reason, error.retry_after
        case ConnectionClosed():
            status, reason, retry_after = (error.rcvd.code if error.rcvd else 0), "", None
        case httpx.TransportError() | Cut():
            status, reason, retry_after = 0, "", None
        case _:
            raise error
    return Ending(text, False, status, reason.upper(), retry_after, type(error).__name__)
