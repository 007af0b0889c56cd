"""The `messages` of a chat request, and their translation to the contract."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Required

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from pydantic import Field
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Message
from typing_extensions import TypedDict

from gateway.edge.media import Attached
from gateway.edge.openai.content import Content, add_content
from gateway.edge.openai.parts import Parts
from gateway.edge.openai.thoughts import Blocks, ReasoningDetail, add_block, add_details
from gateway.edge.openai.words import WORDS, missing, refuse
from gateway.edge.provider_params import sent
from gateway.edge.request_model import lenient

ROLES = {
    "system": ROLE_SYSTEM,
    "developer": ROLE_SYSTEM,
    "user": ROLE_USER,
    "assistant": ROLE_ASSISTANT,
    "tool": ROLE_TOOL,
}
# Members of a message that providers have, and the contract has no field for: Anthropic's mark for its cache, and the
# marks of several providers that the answer goes on with this message.
SENT = frozenset({"cache_control", "prefix", "partial"})
THOUGHTS = frozenset({"reasoning_details", "thinking_blocks", "reasoning_content", "reasoning"})
# Members that may have thoughts.
_MAY_THINK = THOUGHTS | {"provider_specific_fields"}


# Members that are not known are ignored in what clients append to a conversation: each library adds its own.
@lenient
class CalledFunction(TypedDict):
    """The function of a tool call."""

    name: str
    arguments: str


@lenient
class Google(TypedDict, total=False):
    """What Gemini adds to a tool call."""

    thought_signature: str | None


@lenient
class ExtraContent(TypedDict, total=False):
    """What providers add to a tool call."""

    google: Google | None


@lenient
class ChatToolCall(TypedDict, total=False):
    """A call that an assistant made."""

    type: Required[Literal["function"]]
    function: Required[CalledFunction]
    id: Required[str]
    extra_content: ExtraContent | None
    # Under this name LiteLLM keeps what the provider added.
    provider_specific_fields: Any


@lenient
class KeptFields(TypedDict, total=False):
    """What LiteLLM keeps of a message: members that OpenAI's API does not have."""

    reasoning_details: Annotated[list[ReasoningDetail], Field(fail_fast=True, max_length=512)] | None


@lenient
class ChatMessage(TypedDict, total=False):
    """A message of any role. Members that are not known are ignored."""

    role: Required[Literal["system", "developer", "user", "assistant", "tool"]]
    content: Content[Parts] | None
    name: str | None
    tool_calls: Annotated[list[ChatToolCall], Field(fail_fast=True, max_length=128)] | None
    tool_call_id: str | None
    refusal: str | None
    reasoning_content: str | None
    reasoning: str | None
    reasoning_details: Annotated[list[ReasoningDetail], Field(fail_fast=True, max_length=512)] | None
    thinking_blocks: Annotated[Blocks, Field(fail_fast=True, max_length=512)] | None
    provider_specific_fields: KeptFields | None
    cache_control: dict[str, Any] | None
    prefix: bool | None
    partial: bool | None
    # What a model said in other forms cannot be told to a model; without it, the conversation would be another one.
    audio: None
    function_call: None


ChatMessages = Annotated[list[ChatMessage], Field(fail_fast=True, min_length=1, max_length=4096)]


def add_messages(
    messages: RepeatedCompositeFieldContainer[Message], turns: Sequence[ChatMessage], attached: Attached
) -> None:
    """Add the turns to the contract's messages.

    Raises:
        InvalidArgument: a message has members that do not fit together; the error names the message and the member.
    """
    for index, turn in enumerate(turns):
        _check(turn, index)
        message = messages.add(role=ROLES[turn["role"]])
        content = turn.get("content") or turn.get("refusal")
        thinks = turn["role"] == "assistant" and not _MAY_THINK.isdisjoint(turn)
        if thinks:
            _add_thoughts(message, turn, index)
        # Most messages are a text.
        if type(content) is str and not thinks:
            message.content = content
        elif content:
            add_content(message, content, f"messages[{index}].content", attached)
        if name := turn.get("name"):
            message.name = name
        if call_id := turn.get("tool_call_id"):
            message.tool_call_id = call_id
        for call in turn.get("tool_calls") or ():
            function = call["function"]
            message.tool_calls.add(
                call_id=call["id"],
                name=function["name"],
                arguments=function["arguments"],
                signature=signature_of(call.get("extra_content"))
                or _kept_signature(call.get("provider_specific_fields")),
            )
        if not SENT.isdisjoint(turn) and (params := sent(turn, SENT, f"messages[{index}]")):
            message.provider_params = params


def _add_thoughts(message: Message, turn: ChatMessage, index: int) -> None:
    """Add the thoughts of the first form that the message has, because clients keep the same thoughts in several."""
    kept = turn.get("provider_specific_fields") or {}
    if details := turn.get("reasoning_details"):
        add_details(message, details, f"messages[{index}].reasoning_details")
    elif details := kept.get("reasoning_details"):
        add_details(message, details, f"messages[{index}].provider_specific_fields.reasoning_details")
    elif blocks := turn.get("thinking_blocks"):
        for block in blocks:
            add_block(message, block)
    elif text := turn.get("reasoning_content") or turn.get("reasoning"):
        message.parts.add().reasoning.text = text


def signature_of(extra: ExtraContent | None) -> str:
    """Gemini's signature of the thought behind a call; empty if there is none."""
    return ((extra or {}).get("google") or {}).get("thought_signature") or ""


def _kept_signature(fields: object) -> str:
    """The signature in the members that LiteLLM keeps."""
    found = fields.get("thought_signature") if isinstance(fields, Mapping) else None
    return found if isinstance(found, str) else ""


def _check(turn: ChatMessage, index: int) -> None:
    role, calls = turn["role"], turn.get("tool_calls")
    if calls is not None and role != "assistant":
        where = f"messages[{index}].tool_calls"
        refuse(f"Invalid '{where}': only an assistant's message has tool calls.", where, reasons.INVALID_VALUE)
    if role == "tool" and not turn.get("tool_call_id"):
        missing(f"messages[{index}].tool_call_id")
    if turn.get("content") is None and not calls and not any(turn.get(name) for name in ("refusal", *THOUGHTS)):
        reason, words = WORDS["type"]
        where = f"messages[{index}].content"
        refuse(words.format(param=where, expected="a string", got="null"), where, reason)
