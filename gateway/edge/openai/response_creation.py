"""The client's event `response.create`, and the events that answer it over a WebSocket."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from soma.errors.v1 import reasons
from soma.orchestrator.v1.response_service_pb2 import CreateResponseResponse

from gateway.edge.openai.failures import error_response
from gateway.edge.openai.response_events import ResponseEvents, Typed
from gateway.edge.openai.response_request import READER, ResponseAsk, response_ask
from gateway.edge.openai.words import BODY, missing, refuse
from services.mesh.call.errors import MeshError
from services.mesh.transport.websocket import PING_FRAME, text_frame

CREATE = "response.create"
LONGEST_STREAM_ID = 256


@dataclass(slots=True)
class Creation:
    """A message of a client as far as it is read.

    Attributes:
        stream_id: OpenAI's name for a sequence of responses; the events that answer the message have it too.
        generate: whether to make an answer. Without one, the input is kept for a response that continues this one.
    """

    stream_id: str | None = None
    previous_response_id: str = ""
    generate: bool = True

    def read(self, message: bytes) -> ResponseAsk:
        """Read the message.

        Raises:
            InvalidArgument: with OpenAI's message; the first violation is the parameter at fault.
        """
        given = self._members(message)
        if given.get("background"):
            self._refuse("background", "a response over a WebSocket cannot be made in the background")
        if given.get("stream") is False:
            self._refuse("stream", "the answer to a message of a WebSocket is always a stream")
        given["stream"] = True
        return response_ask(READER.members(given))

    def frame(self, data: bytes) -> bytes:
        """An event that answers the message, of its JSON."""
        if self.stream_id is not None:
            data = b'%s,"stream_id":%s}' % (data[:-1], orjson.dumps(self.stream_id))
        return text_frame(data)

    def events(self, made: ResponseEvents) -> "FramedEvents":
        """The events of the response, as frames."""
        return FramedEvents(made, self.frame)

    def error(self, error: MeshError) -> bytes:
        """The event for an error before a response has begun."""
        failed = error_response(error)
        stated: dict[str, Any] = orjson.loads(failed.body)["error"]
        # An error of a WebSocket always has a code.
        stated["code"] = stated["code"] or stated["type"]
        if failed.headers:
            stated["headers"] = {name.decode(): value.decode() for name, value in failed.headers}
        return self.frame(orjson.dumps({"type": "error", "status": failed.status, "error": stated}))

    def _members(self, message: bytes) -> dict[str, Any]:
        """The parameters of the response; those that only a WebSocket has are left out."""
        try:
            given = orjson.loads(message)
        except orjson.JSONDecodeError as error:
            raise BODY.not_json(str(error)) from error
        if type(given) is not dict:
            raise BODY.not_json("expected an object.")
        kind, lane, generate = (given.pop(name, None) for name in ("type", "stream_id", "generate"))
        if type(previous := given.get("previous_response_id")) is str:
            self.previous_response_id = previous
        if type(lane) is str and len(lane) <= LONGEST_STREAM_ID:
            self.stream_id = lane
        elif lane is not None:
            self._refuse("stream_id", f"expected a string of at most {LONGEST_STREAM_ID} characters")
        if kind is None:
            missing("type")
        if kind != CREATE:
            self._refuse("type", f"the only type of a message is '{CREATE}'")
        if generate not in (None, True, False):
            self._refuse("generate", "expected a boolean")
        self.generate = generate is not False
        return given

    @staticmethod
    def _refuse(param: str, why: str) -> None:
        refuse(f"Invalid '{param}': {why}.", param, reasons.INVALID_VALUE)


class FramedEvents:
    """The events of a response as frames."""

    def __init__(self, made: ResponseEvents, frame: Callable[[bytes], bytes]) -> None:
        self._made = made
        self._frame = frame

    def of(self, event: CreateResponseResponse) -> bytes:
        """The frames for one event of the contract; a ping is the sign that a silent stream is alive."""
        if event.HasField("heartbeat"):
            return PING_FRAME
        return self._frames(self._made.typed(event))

    def failed(self, error: MeshError) -> bytes:
        """The last frame of a response that failed."""
        return self._frames(self._made.failure(error))

    def _frames(self, events: Iterable[Typed]) -> bytes:
        # Over a WebSocket an event `error` ends a turn as `response.failed` does, and a turn has one end.
        return b"".join([self._frame(data) for kind, data in events if kind != "error"])
