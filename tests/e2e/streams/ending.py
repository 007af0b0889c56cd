"""How an answer ended, as its client was told."""

from dataclasses import dataclass

import grpc
import httpx
import openai
import somamesh
from websockets.exceptions import ConnectionClosed

from services.mesh.call.status import DETAILS_KEY, from_rpc_error
from tests.e2e.streams.asked import Cut, Refused


@dataclass(frozen=True)
class Ending:
    """What a client saw of an answer.

    Attributes:
        text: what arrived of it.
        finished: whether the final event came.
        status: HTTP's, the name of gRPC's code, or the code a WebSocket was closed with; 0 where none was told.
        reason: of the typed error, as the contracts write it; empty when there was none.
        retry_after: seconds the client was told to wait; None when it was not.
        raised: the class of what the client's library raised.
    """

    text: str = ""
    finished: bool = False
    status: int | str = 0
    reason: str = ""
    retry_after: float | None = None
    raised: str = ""

    @property
    def cut(self) -> bool:
        """Whether it broke off without a word of the mesh's, in a way that its client noticed."""
        return bool(self.raised) and not self.reason


def ending(text: str, error: Exception | None) -> Ending:
    """The end of an answer of which `text` came, and in which a client's library raised `error`.

    Raises:
        Exception: the error itself, where no client is to meet it.
    """
    match error:
        case None:
            return Ending(text, finished=True)
        case grpc.aio.AioRpcError():
            typed = from_rpc_error(error)
            status: int | str = typed.code.name
            # What gRPC itself found has no word of the mesh's.
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
