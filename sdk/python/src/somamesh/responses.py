"""Answers the mesh keeps: read again later, gone on from, made in the background, cancelled."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from soma.orchestrator.v1 import response_service_pb2 as pb

from somamesh.answers import FINISH_REASONS, Usage, from_usage
from somamesh.enums import enum_word
from somamesh.logprobs import TokenLogprob, from_logprobs
from somamesh.messages import Message, ToolCall, from_message
from somamesh.times import moment


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a response: something said, or a function the model asks to call."""

    id: str
    text: str = ""
    tool_call: ToolCall | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class InputItem:
    """One item a response was made from; a turn that said and called something is several."""

    id: str
    message: Message


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a response failed; `reason` is what a program decides by."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Response:
    """A response, whole or on its way.

    Attributes:
        state: `in_progress`, `completed`, `incomplete` (cut short, see `finish_reason`), `failed` or `cancelled`.
        output: its items; empty while it is being made.
        model: the model asked for, until one answers.
        finish_reason: `stop`, `length`, `tool_calls` or `content_filter`; empty until the model ended.
        failure: what went wrong; only with `failed`.
        previous: the response it goes on from; may be empty.
        conversation: where it is remembered; empty when it is not.
        metadata: labels it was created with.
        sources: keys of what it quotes or was given to answer from.
        dropped_params: what the provider could not honour and `drop_params` left out.
    """

    id: str
    state: str
    output: tuple[Item, ...]
    model: str
    finish_reason: str
    usage: Usage
    failure: Failure | None
    previous: str
    conversation: str
    metadata: Mapping[str, str]
    sources: tuple[str, ...]
    dropped_params: tuple[str, ...]
    created_at: datetime | None
    ended_at: datetime | None

    @property
    def text(self) -> str:
        """What it says."""
        return "".join(item.text for item in self.output)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """Functions the model asks to call."""
        return tuple(item.tool_call for item in self.output if item.tool_call is not None)


def from_response(response: pb.Response) -> Response:
    """A response as the mesh keeps it."""
    settings = response.settings
    failed = response.state == pb.Response.STATE_FAILED
    return Response(
        id=response.response_id,
        state=enum_word(pb.Response.State, response.state, "unknown"),
        output=tuple(_item(item) for item in response.output),
        model=response.model,
        finish_reason=FINISH_REASONS.get(response.finish_reason, ""),
        usage=from_usage(response.usage),
        failure=Failure(response.error.reason, response.error.message) if failed else None,
        previous=settings.previous_response_id,
        conversation=settings.conversation_id,
        metadata=dict(settings.metadata),
        sources=tuple(source.key for source in response.sources),
        dropped_params=tuple(response.dropped_params),
        created_at=moment(response.create_time),
        ended_at=moment(response.end_time),
    )


def kept(response: pb.GetResponseResponse | pb.CancelResponseResponse) -> Response:
    """The response that was asked for."""
    return from_response(response.response)


def given(item: pb.ResponseInputItem) -> InputItem:
    """An item a response was made from."""
    return InputItem(item.item_id, from_message(item.message))


def _item(item: pb.ResponseItem) -> Item:
    if item.HasField("tool_call"):
        call = item.tool_call
        return Item(item.item_id, tool_call=ToolCall(call.call_id, call.name, call.arguments))
    return Item(item.item_id, item.text.text, logprobs=from_logprobs(item.text.logprobs))
