"""The client's event `response.create`, and the events that answer it over a WebSocket."""

from dataclasses import dataclass
from typing import Any

import orjson
from soma.errors.v1 import reasons

from gateway.edge.openai.failures import error_response
from gateway.edge.openai.response_events import Form
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

    @property
    def form(self) -> Form:
        """How the events that answer the message are sent."""
        if self.stream_id is None:
            return _PLAIN
        lane = b',"stream_id":%s}' % orjson.dumps(self.stream_id)
        return Form(lambda _, data: text_frame(data[:-1] + lane), PING_FRAME)

    def error(self, error: MeshError) -> bytes:
        """The event for an error before a response has begun."""
        failed = error_response(error)
        stated: dict[str, Any] = orjson.loads(failed.body)["error"]
        # An error of a WebSocket always has a code.
        stated["code"] = stated["code"] or stated["type"]
        if failed.headers:
            stated["headers"] = {name.decode(): value.decode() for name, value in failed.headers}
        data = orjson.dumps({"type": "error", "status": failed.status, "error": stated})
        return self.form.event("error", data)

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


def _frame(_: str, data: bytes) -> bytes:
    return text_frame(data)


_PLAIN = Form(_frame, PING_FRAME)
