"""Creates a response, or watches one, and reads the events of its stream."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from soma.memory.v1 import memory_service_pb2 as memory
from soma.orchestrator.v1 import response_service_pb2 as pb

from somamesh.answers import NOTHING, Event
from somamesh.calls import Streaming
from somamesh.enums import enum_value
from somamesh.failures import cut_off, from_stream_error
from somamesh.messages import Message, to_messages
from somamesh.options import Options, options_of
from somamesh.responses import Item, Response, from_response
from somamesh.turns import Strategy

Input = str | Sequence[Message | Mapping[str, Any] | Item]


@dataclass(slots=True)
class ResponseReader:
    """Reads the events of one response as they arrive."""

    request_id: str
    _latest: pb.Response | None = None
    _ended: bool = False

    def take(self, event: pb.CreateResponseResponse | pb.WatchResponseResponse) -> Event | None:
        """Take one event and return what it adds to the answer, or None. The first event adds nothing.

        Raises:
            APIError: the event reports that the response failed.
        """
        kind = event.WhichOneof("payload")
        if kind == "delta":
            return Event(text=event.delta.text)
        if kind == "reasoning":
            return Event(reasoning=event.reasoning.text)
        if kind == "created":
            self._latest = event.created
            return NOTHING
        if kind == "finished":
            self._latest, self._ended = event.finished, True
        elif kind == "error":
            raise from_stream_error(event.error, self.request_id)
        return None

    def end(self) -> None:
        """Check that the response is complete, when no more events come.

        Raises:
            UnavailableError: the stream ended before the response did.
        """
        if not self._ended:
            raise cut_off(self.request_id)

    @property
    def begun(self) -> bool:
        """Whether the response has an id."""
        return self._latest is not None

    def latest(self) -> Response:
        """The finished response, or the response as it began if it is not finished.

        Raises:
            UnavailableError: the stream ended before the response began.
        """
        if self._latest is None:
            raise cut_off(self.request_id)
        return from_response(self._latest)

    def response(self) -> Response:
        """The whole response.

        Raises:
            UnavailableError: the stream ended before the response did.
        """
        self.end()
        return self.latest()


def create_response(
    said: Input,
    *,
    model: str = "",
    instructions: str = "",
    previous: str = "",
    conversation: str = "",
    strategy: Strategy | None = None,
    metadata: Mapping[str, str] | None = None,
    store: bool = True,
    background: bool = False,
    timeout: float | None = None,
    **options: Unpack[Options],
) -> Streaming[ResponseReader]:
    """Create a response, which the mesh stores. The input is a text, or messages and items of earlier responses.

    Args:
        model: its name; empty for the default.
        instructions: for this response only; a response that continues it does not inherit them.
        previous: id of the response to continue; then the input holds only what is new.
        conversation: id of the conversation that remembers the turn, as in `chat`; not together with `previous`.
        strategy: which memory to use, as in `chat`.
        metadata: labels, stored with the response.
        store: whether it can be read, cancelled and continued later.
        background: the mesh makes the response even if nobody waits for it. `create_response` returns it in progress,
            leaving a stream does not end it, and `get_response` says how it ended.
        options: see `Options`.
    """
    settings = pb.ResponseSettings(
        instructions=instructions,
        previous_response_id=previous,
        conversation_id=conversation,
        strategy=None if strategy is None else enum_value(memory.Strategy, strategy),
        metadata=metadata,
        store=store,
        background=background,
        options=options_of(options),
    )
    request = pb.CreateResponseRequest(model=model, input=_input(said), settings=settings)
    return Streaming(lambda mesh: mesh.response_service.CreateResponse, request, ResponseReader, timeout)


def watch_response(response_id: str, *, timeout: float | None = None) -> Streaming[ResponseReader]:
    """Read a response that was created with `background`, from its beginning; leaving the stream does not end it.

    Raises `NotFoundError`, and `InvalidRequestError` for a response created without `background`.
    """
    request = pb.WatchResponseRequest(response_id=response_id)
    return Streaming(lambda mesh: mesh.response_service.WatchResponse, request, ResponseReader, timeout)


def in_background(making: Streaming[ResponseReader]) -> bool:
    """Whether the call creates a response in the background."""
    return isinstance(making.request, pb.CreateResponseRequest) and making.request.settings.background


def _input(said: Input) -> list[pb.ResponseInput]:
    if isinstance(said, str):
        return [pb.ResponseInput(message=to_messages(said)[0])]
    return [
        pb.ResponseInput(item_id=each.id)
        if isinstance(each, Item)
        else pb.ResponseInput(message=to_messages([each])[0])
        for each in said
    ]
