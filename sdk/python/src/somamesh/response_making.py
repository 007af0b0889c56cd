"""Has a response made, and takes the events of its making."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from soma.memory.v1 import memory_service_pb2 as memory
from soma.orchestrator.v1 import response_service_pb2 as pb

from somamesh.calls import Streaming
from somamesh.enums import enum_value
from somamesh.failures import cut_off, stated
from somamesh.messages import Message, to_messages
from somamesh.options import Options, fields_of
from somamesh.responses import Item, Response, from_response
from somamesh.turns import Strategy

Input = str | Sequence[Message | Mapping[str, Any] | Item]


@dataclass(slots=True)
class Making:
    """Takes the events of one response as they come."""

    request_id: str
    _latest: pb.Response | None = None
    _ended: bool = False

    def take(self, event: pb.CreateResponseResponse | pb.WatchResponseResponse) -> str | None:
        """Take one event; the text it adds, if any, and an empty one where the response begins.

        Raises:
            APIError: the event says that the response failed.
        """
        kind = event.WhichOneof("payload")
        if kind == "delta":
            return event.delta.text or None
        if kind == "created":
            self._latest = event.created
            return ""
        if kind == "finished":
            self._latest, self._ended = event.finished, True
        elif kind == "error":
            raise stated(event.error, self.request_id)
        return None

    def end(self) -> None:
        """No further event comes.

        Raises:
            UnavailableError: the stream ended before the response did.
        """
        if not self._ended:
            raise cut_off(self.request_id)

    @property
    def begun(self) -> bool:
        """Whether it has an id."""
        return self._latest is not None

    def latest(self) -> Response:
        """The response as it began, until it has ended.

        Raises:
            UnavailableError: the stream ended before it began.
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
) -> Streaming[Making]:
    """Have an answer made that the mesh keeps: a text, or messages and items of earlier responses.

    Args:
        model: its name; empty for the default.
        instructions: for this response only; one that goes on from it does not inherit them.
        previous: id of the response this goes on from; then what is said is only what is new.
        conversation: where the turn is remembered, as in `chat`; not together with `previous`.
        strategy: which memory to bring in, as in `chat`.
        metadata: labels, kept with it.
        store: whether it can be retrieved, cancelled and gone on from.
        background: it is made whether or not anybody waits for it: `create_response` returns it in progress, leaving
            a stream does not end it, and `get_response` says how it ended.
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
        **fields_of(options),
    )
    request = pb.CreateResponseRequest(model=model, input=_input(said), settings=settings)
    return Streaming(lambda mesh: mesh.response_service.CreateResponse, request, Making, timeout)


def watch_response(response_id: str, *, timeout: float | None = None) -> Streaming[Making]:
    """Read a response that is made in the background, or was, from its beginning; leaving it does not end it.

    Raises `NotFoundError`, and `InvalidRequestError` for one that was not made in the background.
    """
    request = pb.WatchResponseRequest(response_id=response_id)
    return Streaming(lambda mesh: mesh.response_service.WatchResponse, request, Making, timeout)


def in_background(making: Streaming[Making]) -> bool:
    """Whether a response is made without being waited for."""
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
