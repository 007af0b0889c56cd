"""The `input` of a response, and its translation to the contract."""

from collections.abc import Sequence
from typing import Annotated, Literal, Required, final

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from pydantic import Discriminator, Field, Tag
from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import (
    PHASE_COMMENTARY,
    PHASE_FINAL_ANSWER,
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    Phase,
    Reasoning,
)
from soma.orchestrator.v1.response_service_pb2 import ResponseInput
from typing_extensions import TypedDict

from gateway.edge.media import Attached
from gateway.edge.openai.content import Content, add_content
from gateway.edge.openai.encrypted import opened
from gateway.edge.openai.messages import ExtraContent, signature_of
from gateway.edge.openai.parts import Parts
from gateway.edge.openai.words import refuse
from gateway.edge.request_model import lenient

# The contract's limit; no item of the mesh has a longer id.
LONGEST_ID = 128
# The contract's limit on a compaction.
LONGEST_COMPACTION = 1024 * 1024
ROLES = {"system": ROLE_SYSTEM, "developer": ROLE_SYSTEM, "user": ROLE_USER, "assistant": ROLE_ASSISTANT}
PHASES = {"commentary": PHASE_COMMENTARY, "final_answer": PHASE_FINAL_ANSWER}


# Members that are not known are ignored in what clients send back: each library adds its own.
class Typed(TypedDict, total=False):
    """The type of an item; it has all types."""

    type: (
        Literal["message", "function_call", "function_call_output", "item_reference", "reasoning", "compaction"] | None
    )


@final
@lenient
class MessageItem(Typed, total=False):
    """A message."""

    role: Required[Literal["system", "developer", "user", "assistant"]]
    content: Required[Content[Parts]]
    phase: Literal["commentary", "final_answer"] | None


@final
@lenient
class CallItem(Typed, total=False):
    """A call that the model made."""

    call_id: Required[str]
    name: Required[str]
    arguments: Required[str]
    extra_content: ExtraContent | None


@final
@lenient
class OutputItem(Typed, total=False):
    """The output of a call."""

    call_id: Required[str]
    output: Required[Content[Parts]]


@lenient
class ReasoningText(TypedDict):
    """A piece of a thought, or of its summary."""

    text: str


@final
@lenient
class ReasoningItem(Typed, total=False):
    """A thought of the model."""

    summary: Required[list[ReasoningText]]
    id: str | None
    content: list[ReasoningText] | None
    encrypted_content: str | None


@final
@lenient
class CompactionItem(TypedDict):
    """An earlier conversation in a short form."""

    type: Literal["compaction"]
    encrypted_content: Annotated[str, Field(min_length=1, max_length=LONGEST_COMPACTION)]


@final
@lenient
class ReferenceItem(TypedDict, total=False):
    """An item of an earlier response."""

    type: Literal["item_reference"] | None
    id: Required[str]


BRANCHES = {
    "function_call": "union:call",
    "function_call_output": "union:output",
    "item_reference": "union:reference",
    "reasoning": "union:reasoning",
    "compaction": "union:compaction",
}


def _branch(value: object) -> str:
    """The kind of an item. One without a type is a message, or a reference if it has nothing but an id."""
    if not isinstance(value, dict):
        return "union:message"
    kind = value.get("type")
    if kind is None and "id" in value and "role" not in value and "content" not in value:
        return "union:reference"
    return BRANCHES.get(kind, "union:message") if isinstance(kind, str) else "union:message"


Item = Annotated[
    Annotated[MessageItem, Tag("union:message")]
    | Annotated[CallItem, Tag("union:call")]
    | Annotated[OutputItem, Tag("union:output")]
    | Annotated[ReferenceItem, Tag("union:reference")]
    | Annotated[ReasoningItem, Tag("union:reasoning")]
    | Annotated[CompactionItem, Tag("union:compaction")],
    Discriminator(_branch),
]
AnyItem = MessageItem | CallItem | OutputItem | ReferenceItem | ReasoningItem | CompactionItem
ResponseItems = Content[Annotated[list[Item], Field(fail_fast=True, min_length=1, max_length=4096)]]


def add_inputs(
    inputs: RepeatedCompositeFieldContainer[ResponseInput], given: str | Sequence[AnyItem], attached: Attached
) -> None:
    """Add the items to the contract's items; a string is a message of the user.

    Raises:
        InvalidArgument: an item is not valid; the error names it.
    """
    if isinstance(given, str):
        message = inputs.add().message
        message.role, message.content = ROLE_USER, given
        return
    for index, item in enumerate(given):
        if "summary" in item:
            _add_thought(inputs, item, f"input[{index}].encrypted_content")
            continue
        if "encrypted_content" in item:
            inputs.add(compaction=item["encrypted_content"])
            continue
        if "id" in item:
            inputs.add(item_id=item["id"])
            continue
        message = inputs.add().message
        if "role" in item:
            message.role = ROLES[item["role"]]
            add_content(message, item["content"], f"input[{index}].content", attached)
            if phase := item.get("phase"):
                message.phase = _phase_of(phase, item["role"], f"input[{index}].phase")
        elif "arguments" in item:
            message.role = ROLE_ASSISTANT
            message.tool_calls.add(
                call_id=item["call_id"],
                name=item["name"],
                arguments=item["arguments"],
                signature=signature_of(item.get("extra_content")),
            )
        elif "output" in item:
            message.role, message.tool_call_id = ROLE_TOOL, item["call_id"]
            add_content(message, item["output"], f"input[{index}].output", attached)


def _phase_of(phase: str, role: str, param: str) -> "Phase.ValueType":
    if role != "assistant":
        refuse(f"Invalid '{param}': only an assistant's message has a phase.", param, reasons.INVALID_VALUE)
    return PHASES[phase]


def _add_thought(inputs: RepeatedCompositeFieldContainer[ResponseInput], item: ReasoningItem, param: str) -> None:
    """Add a thought, unless the item says nothing.

    Clients often send only its text and its id, and the stored response has what the provider signed or encrypted.

    Raises:
        InvalidArgument: `encrypted_content` is damaged; the error names it.
    """
    item_id = ""
    if encrypted := item.get("encrypted_content"):
        thought = opened(encrypted, param)
    else:
        text = "".join(piece["text"] for piece in item.get("content") or ())
        thought = Reasoning(text=text or "\n\n".join(piece["text"] for piece in item["summary"]))
        if len(given := item.get("id") or "") <= LONGEST_ID:
            item_id = given
        if not item_id and not thought.text:
            return
    added = inputs.add(repeated_item_id=item_id)
    added.message.role = ROLE_ASSISTANT
    added.message.parts.add().reasoning.CopyFrom(thought)
