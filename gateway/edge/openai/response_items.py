"""The `input` of a response, and its translation to the contract."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Required, final

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from pydantic import Field, Tag
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Message, ToolCall
from soma.orchestrator.v1.response_service_pb2 import ResponseInput
from typing_extensions import TypedDict

from gateway.edge.openai.parts import NOT_READ, Content, RefusalPart, TextPart, joined
from gateway.edge.request_model import by_member, lenient, strict

ROLES = {"system": ROLE_SYSTEM, "developer": ROLE_SYSTEM, "user": ROLE_USER, "assistant": ROLE_ASSISTANT}


@lenient
class ResponseMediaPart(TypedDict):
    """A part that is not text. Its `type` has all types of parts."""

    type: Literal["input_text", "output_text", "text", "refusal", "input_image", "input_file", "input_audio"]


ResponsePart = Annotated[
    Annotated[TextPart, Tag("union:text")]
    | Annotated[RefusalPart, Tag("union:refusal")]
    | Annotated[ResponseMediaPart, NOT_READ, Tag("union:media")],
    by_member(
        "type",
        {"input_text": "union:text", "output_text": "union:text", "text": "union:text", "refusal": "union:refusal"},
        "union:media",
    ),
]
ResponseParts = Annotated[list[ResponsePart], Field(fail_fast=True)]


class Kept(TypedDict, total=False):
    """The members beside the content of an item that a client sends back. `type` has all types of items."""

    type: Literal["message", "function_call", "function_call_output", "item_reference"] | None
    id: Any
    status: Any
    phase: Any


@final
@strict
class MessageItem(Kept, total=False):
    """A message."""

    role: Required[Literal["system", "developer", "user", "assistant"]]
    content: Required[Content[ResponseParts]]


@final
@strict
class CallItem(Kept, total=False):
    """A call that the model made. Some clients also send the parsed arguments, which are ignored."""

    call_id: Required[str]
    name: Required[str]
    arguments: Required[str]
    parsed_arguments: Any


@final
@strict
class OutputItem(Kept, total=False):
    """The output of a call."""

    call_id: Required[str]
    output: Required[Content[ResponseParts]]


@final
@strict
class ReferenceItem(TypedDict):
    """An item of an earlier response."""

    type: Literal["item_reference"]
    id: str


Item = Annotated[
    Annotated[MessageItem, Tag("union:message")]
    | Annotated[CallItem, Tag("union:call")]
    | Annotated[OutputItem, Tag("union:output")]
    | Annotated[ReferenceItem, Tag("union:reference")],
    by_member(
        "type",
        {"function_call": "union:call", "function_call_output": "union:output", "item_reference": "union:reference"},
        "union:message",
    ),
]
AnyItem = MessageItem | CallItem | OutputItem | ReferenceItem
ResponseItems = Content[Annotated[list[Item], Field(fail_fast=True, min_length=1, max_length=4096)]]


def add_inputs(inputs: RepeatedCompositeFieldContainer[ResponseInput], given: str | Sequence[AnyItem]) -> None:
    """Add the items to the contract's items; a string is a message of the user."""
    if isinstance(given, str):
        inputs.add().message.MergeFrom(Message(role=ROLE_USER, content=given))
        return
    for item in given:
        if "role" in item:
            inputs.add().message.MergeFrom(Message(role=ROLES[item["role"]], content=joined(item["content"])))
        elif "arguments" in item:
            call = ToolCall(call_id=item["call_id"], name=item["name"], arguments=item["arguments"])
            inputs.add().message.MergeFrom(Message(role=ROLE_ASSISTANT, tool_calls=[call]))
        elif "output" in item:
            output = joined(item["output"])
            inputs.add().message.MergeFrom(Message(role=ROLE_TOOL, tool_call_id=item["call_id"], content=output))
        else:
            inputs.add(item_id=item["id"])
