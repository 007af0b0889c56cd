"""The `messages` and `system` of a request, and their translation to the contract's messages."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer
from pydantic import Field
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Message, Role
from typing_extensions import TypedDict

from gateway.edge.anthropic.blocks import Blocks, TextBlock, ToolResultBlock, ToolUseBlock, add_shown
from gateway.edge.anthropic.thoughts import Thoughts
from gateway.edge.anthropic.words import refuse
from gateway.edge.media import Attached
from gateway.edge.provider_params import json_text, sent
from gateway.edge.request_model import TextOr, lenient
from services.messages.place import details_at

System = TextOr[str, Annotated[list[TextBlock], Field(fail_fast=True, max_length=1024)]]
Messages = RepeatedCompositeFieldContainer[Message]
_ROLES = {"user": ROLE_USER, "assistant": ROLE_ASSISTANT, "system": ROLE_SYSTEM}
_SHOWN = frozenset({"text", "image", "document"})
# What the turns of a role may hold.
_HELD = {
    "user": _SHOWN | {"tool_result"},
    "assistant": frozenset({"text", "tool_use", "thinking", "redacted_thinking"}),
    "system": frozenset({"text"}),
}


@lenient
class Turn(TypedDict):
    """A turn of the conversation."""

    role: Literal["user", "assistant", "system"]
    content: TextOr[str, Blocks]


Turns = Annotated[list[Turn], Field(fail_fast=True, min_length=1, max_length=4096)]


def add_system(messages: Messages, system: str | list[TextBlock] | None, attached: Attached) -> None:
    """Add the system text, which is before all turns."""
    if not system:
        return
    message = messages.add(role=ROLE_SYSTEM)
    if isinstance(system, str):
        message.content = system
    else:
        add_shown(message, system, "system", attached)


def add_turns(messages: Messages, turns: Sequence[Turn], attached: Attached, thoughts: Thoughts) -> None:
    """Add the turns.

    Raises:
        InvalidArgument: a block does not belong into a turn of its role, or is not valid; the error names it.
    """
    for index, turn in enumerate(turns):
        role, content, where = turn["role"], turn["content"], f"messages.{index}.content"
        if isinstance(content, str):
            messages.add(role=_ROLES[role], content=content)
            continue
        held = _HELD[role]
        for place, block in enumerate(content):
            if block["type"] not in held:
                refuse(f"{where}.{place}", f"a block of the type `{block['type']}` cannot be in a turn of `{role}`")
        if role == "assistant":
            _add_said(messages.add(role=ROLE_ASSISTANT), content, where, thoughts)
        else:
            _add_told(messages, _ROLES[role], content, where, attached)


def _add_told(
    messages: Messages, role: "Role.ValueType", blocks: Sequence[Any], where: str, attached: Attached
) -> None:
    """Add a turn of the user: a message for each result, and one for what is between two of them."""
    begin = 0
    for place, block in enumerate(blocks):
        if block["type"] == "tool_result":
            if begin < place:
                add_shown(messages.add(role=role), blocks[begin:place], where, attached, begin)
            _add_result(messages.add(role=ROLE_TOOL), block, f"{where}.{place}", attached)
            begin = place + 1
    if begin < len(blocks) or not blocks:
        add_shown(messages.add(role=role), blocks[begin:], where, attached, begin)


def _add_result(message: Message, block: ToolResultBlock, where: str, attached: Attached) -> None:
    message.tool_call_id = block["tool_use_id"]
    content = block.get("content")
    if isinstance(content, str):
        message.content = content
    elif content:
        add_shown(message, content, f"{where}.content", attached)
    marks = {"cache_control": block.get("cache_control"), "is_error": block.get("is_error") or None}
    if params := sent(marks, marks.keys(), where):
        message.provider_params = params


def _add_said(message: Message, blocks: Sequence[Any], where: str, thoughts: Thoughts) -> None:
    """Add a turn of the model. Its thoughts keep their places among its texts and calls."""
    characters = 0
    plain = all(block["type"] in ("text", "tool_use") and block.get("cache_control") is None for block in blocks)
    texts = [block for block in blocks if block["type"] == "text"]
    for place, block in enumerate(blocks):
        match block["type"]:
            case "text":
                characters += len(block["text"])
                if plain and len(texts) == 1:
                    message.content = block["text"]
                    continue
                part = message.parts.add()
                part.text.text = block["text"]
                if params := sent(block, ("cache_control",), f"{where}.{place}"):
                    part.provider_params = params
            case "tool_use":
                _add_call(message, block, f"{where}.{place}")
            case kind:
                at = f"{where}.{place}"
                if kind == "thinking":
                    thought = thoughts.opened(block["thinking"], block["signature"], at)
                else:
                    thought = thoughts.opened_data(block["data"], at)
                if not thought.provider:
                    # Anthropic's API takes a thought only at its place.
                    thought.details = details_at(characters, len(message.tool_calls))
                message.parts.add().reasoning.CopyFrom(thought)
                message.parts[-1].reasoning.SetInParent()


def _add_call(message: Message, block: ToolUseBlock, where: str) -> None:
    call = message.tool_calls.add(
        call_id=block["id"], name=block["name"], arguments=json_text(block["input"], f"{where}.input")
    )
    extra = block.get("extra_content")
    if isinstance(extra, dict) and isinstance(google := extra.get("google"), dict):
        signature = google.get("thought_signature")
        call.signature = signature if isinstance(signature, str) else ""
    if params := sent(block, ("cache_control",), where):
        # The mark of a call is at the end of its message, where the provider reads it.
        message.provider_params = params
