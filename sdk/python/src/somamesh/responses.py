"""Responses: answers that the mesh stores. They can be read again, continued, cancelled or made in the background."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from soma.orchestrator.v1 import response_service_pb2 as pb

from somamesh.answers import FINISH_REASONS, Usage, from_usage
from somamesh.enums import enum_word
from somamesh.logprobs import TokenLogprob, from_logprobs
from somamesh.messages import Message, ToolCall, from_message, from_tool_call
from somamesh.parts import Citation, Reasoning, from_citations, from_reasoning
from somamesh.times import moment


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a response: a text, a thought, or a function that the model asks to call.

    Attributes:
        citations: places that the text refers to.
        refusal: the text is the model's refusal to answer. Not every provider marks refusals.
    """

    id: str
    text: str = ""
    tool_call: ToolCall | None = None
    logprobs: tuple[TokenLogprob, ...] = ()
    reasoning: Reasoning | None = None
    citations: tuple[Citation, ...] = ()
    refusal: bool = False


@dataclass(frozen=True, slots=True)
class InputItem:
    """One item of a response's input; a turn with a text and tool calls is several items."""

    id: str
    message: Message


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a response failed; `reason` is a stable name, for programs to decide by."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Response:
    """A response, finished or in progress.

    Attributes:
        state: `in_progress`, `completed`, `incomplete` (cut short, see `finish_reason`), `failed` or `cancelled`.
        output: its items; empty while it is in progress.
        model: the model that answers; until it does, the model that was asked for.
        finish_reason: `stop`, `length`, `tool_calls` or `content_filter`; empty until the model ended.
        failure: what went wrong, when the state is `failed`.
        previous: id of the response that it continues; may be empty.
        conversation: id of the conversation that remembers it; empty when none does.
        metadata: the labels given when it was created.
        sources: keys of the memories that it quotes or was given.
        dropped_params: options that the provider does not support and that `drop_params` left out.
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
        """The text of all items."""
        return "".join(item.text for item in self.output)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The functions that the model asks to call."""
        return tuple(item.tool_call for item in self.output if item.tool_call is not None)

    @property
    def reasoning(self) -> tuple[Reasoning, ...]:
        """The thoughts of the model."""
        return tuple(item.reasoning for item in self.output if item.reasoning is not None)


def from_response(response: pb.Response) -> Response:
    """Convert a stored response."""
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


def from_answer(response: pb.GetResponseResponse | pb.CancelResponseResponse) -> Response:
    """Convert the response inside an answer of `GetResponse` or `CancelResponse`."""
    return from_response(response.response)


def from_input_item(item: pb.ResponseInputItem) -> InputItem:
    """Convert an item of a response's input."""
    return InputItem(item.item_id, from_message(item.message))


def _item(item: pb.ResponseItem) -> Item:
    match item.WhichOneof("item"):
        case "tool_call":
            return Item(item.item_id, tool_call=from_tool_call(item.tool_call))
        case "reasoning":
            return Item(item.item_id, reasoning=from_reasoning(item.reasoning))
    text = item.text
    return Item(
        item.item_id,
        text.text,
        logprobs=from_logprobs(text.logprobs),
        citations=from_citations(text.citations),
        refusal=text.refusal,
    )
