"""The `messages` of a chat request, and their translation to the contract."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Required

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from pydantic import Field, Tag
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Message
from typing_extensions import TypedDict

from gateway.edge.openai.parts import NOT_READ, Content, RefusalPart, TextPart, joined
from gateway.edge.openai.words import WORDS, missing, refuse
from gateway.edge.request_model import by_member, lenient, strict

ROLES = {
    "system": ROLE_SYSTEM,
    "developer": ROLE_SYSTEM,
    "user": ROLE_USER,
    "assistant": ROLE_ASSISTANT,
    "tool": ROLE_TOOL,
}


@lenient
class ChatMediaPart(TypedDict):
    """A part that is not text. Its `type` has all types of parts."""

    type: Literal["text", "refusal", "image_url", "input_audio", "file"]


ChatPart = Annotated[
    Annotated[TextPart, Tag("union:text")]
    | Annotated[RefusalPart, Tag("union:refusal")]
    | Annotated[ChatMediaPart, NOT_READ, Tag("union:media")],
    by_member("type", {"text": "union:text", "refusal": "union:refusal"}, "union:media"),
]


@strict
class CalledFunction(TypedDict, total=False):
    """The function of a tool call. Some clients also send the parsed arguments, which are ignored."""

    name: Required[str]
    arguments: Required[str]
    parsed_arguments: Any


@strict
class ChatToolCall(TypedDict, total=False):
    """A call that an assistant made. Clients may also send the `index` that it had in a stream."""

    type: Required[Literal["function"]]
    function: Required[CalledFunction]
    id: Required[str]
    index: Any


@strict
class ChatMessage(TypedDict, total=False):
    """A message of any role, with the members of an assistant's message that clients send back."""

    role: Required[Literal["system", "developer", "user", "assistant", "tool"]]
    content: Content[Annotated[list[ChatPart], Field(fail_fast=True)]] | None
    name: str | None
    tool_calls: Annotated[list[ChatToolCall], Field(fail_fast=True, max_length=128)] | None
    tool_call_id: str | None
    refusal: str | None
    annotations: Any
    parsed: Any
    audio: None
    function_call: None


ChatMessages = Annotated[list[ChatMessage], Field(fail_fast=True, min_length=1, max_length=4096)]


def add_messages(messages: RepeatedCompositeFieldContainer[Message], turns: Sequence[ChatMessage]) -> None:
    """Add the turns to the contract's messages.

    Raises:
        InvalidArgument: a message has members that do not fit together; the error names the message and the member.
    """
    for index, turn in enumerate(turns):
        _check(turn, index)
        message = messages.add(role=ROLES[turn["role"]], content=joined(turn.get("content") or ()))
        if refusal := turn.get("refusal"):
            message.content = message.content or refusal
        if name := turn.get("name"):
            message.name = name
        if call_id := turn.get("tool_call_id"):
            message.tool_call_id = call_id
        for call in turn.get("tool_calls") or ():
            function = call["function"]
            message.tool_calls.add(call_id=call["id"], name=function["name"], arguments=function["arguments"])


def _check(turn: ChatMessage, index: int) -> None:
    role, calls = turn["role"], turn.get("tool_calls")
    if calls is not None and role != "assistant":
        where = f"messages[{index}].tool_calls"
        refuse(f"Invalid '{where}': only an assistant's message has tool calls.", where, reasons.INVALID_VALUE)
    if role == "tool" and not turn.get("tool_call_id"):
        missing(f"messages[{index}].tool_call_id")
    if turn.get("content") is None and not turn.get("refusal") and not calls:
        reason, words = WORDS["type"]
        where = f"messages[{index}].content"
        refuse(words.format(param=where, expected="a string", got="null"), where, reason)
