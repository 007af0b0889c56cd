"""Messages of a conversation, and tools that a model may ask to call."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from soma.memory.v1.memory_service_pb2 import ConversationMessage
from soma.model.v1 import message_pb2 as model
from soma.model.v1 import options_pb2

from somamesh.json_values import from_json, from_struct, to_json, to_struct
from somamesh.parts import Part, Text, from_part, to_part
from somamesh.times import moment

ROLES = {
    "system": model.ROLE_SYSTEM,
    "user": model.ROLE_USER,
    "assistant": model.ROLE_ASSISTANT,
    "tool": model.ROLE_TOOL,
}
ROLE_NAMES: dict[int, str] = {role: name for name, role in ROLES.items()}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A function that the model asks to call.

    Attributes:
        arguments: JSON text as the model wrote it.
        signature: the provider's signature of the thought behind the call; it goes back with the call.
    """

    id: str
    name: str
    arguments: str
    signature: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask to call.

    Attributes:
        parameters: the JSON schema of its parameters.
        provider_params: members that the contract has no field for, such as `cache_control`; sent as they are.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None
    provider_params: Mapping[str, Any] = field(default_factory=dict, kw_only=True)


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`.
        content: its text, or the beginning of it: `text` is all of it.
        name: the speaker's name; may be empty.
        tool_calls: the calls that an assistant asked for.
        tool_call_id: id of the call, when a `tool` message holds its result.
        metadata: the application's own data, stored with the message; a model never sees it.
        sequence: position in its conversation, from 1; None when it comes from no conversation.
        created_at: when it was stored; None when it comes from no conversation.
        parts: what it holds after `content`: texts, pictures, sounds, documents and thoughts. A string is a text.
        provider_params: members that the contract has no field for, such as `cache_control`; sent as they are.
    """

    role: str
    content: str = ""
    name: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    sequence: int | None = None
    created_at: datetime | None = None
    parts: Sequence[Part | str] = field(default=(), kw_only=True)
    provider_params: Mapping[str, Any] = field(default_factory=dict, kw_only=True)

    @property
    def text(self) -> str:
        """All its texts, one after the other."""
        return self.content + "".join(_text(part) for part in self.parts)


def _text(part: Part | str) -> str:
    if isinstance(part, str):
        return part
    return part.text if isinstance(part, Text) else ""


Messages = str | Sequence[Message | Mapping[str, Any]]


def to_messages(said: Messages) -> list[model.Message]:
    """Messages of the contract. A string becomes a message of the user; a mapping has the fields of a `Message`.

    Raises:
        OSError: the file of a picture, a sound or a document cannot be read.
        TypeError: a message has no such field, or a part of another type.
        ValueError: a message has an unknown role, or a part has a wrong value.
    """
    if isinstance(said, str):
        return [model.Message(role=model.ROLE_USER, content=said)]
    return [_to_contract(message_of(each)) for each in said]


def message_of(said: Message | Mapping[str, Any]) -> Message:
    """A message; a mapping gives its fields.

    Raises:
        TypeError: a message has no such field.
    """
    return said if isinstance(said, Message) else Message(**said)


def _to_contract(message: Message) -> model.Message:
    if message.role not in ROLES:
        raise ValueError(f"a message's role is one of {', '.join(ROLES)}, not {message.role!r}")
    return model.Message(
        metadata=to_struct(message.metadata) if message.metadata else None,
        role=ROLES[message.role],
        content=message.content,
        name=message.name,
        tool_calls=[
            model.ToolCall(call_id=call.id, name=call.name, arguments=call.arguments, signature=call.signature)
            for call in message.tool_calls
        ],
        tool_call_id=message.tool_call_id,
        parts=map(to_part, message.parts),
        provider_params=to_json(message.provider_params),
    )


def from_message(message: model.Message) -> Message:
    """Convert a message that has no position in a conversation."""
    return Message(
        role=ROLE_NAMES.get(message.role, ""),
        content=message.content,
        name=message.name,
        tool_calls=tuple(map(from_tool_call, message.tool_calls)),
        tool_call_id=message.tool_call_id,
        metadata=from_struct(message.metadata),
        parts=tuple(made for part in message.parts if (made := from_part(part)) is not None),
        provider_params=from_json(message.provider_params),
    )


def from_tool_call(call: model.ToolCall) -> ToolCall:
    """Convert a call that the model asks for."""
    return ToolCall(call.call_id, call.name, call.arguments, call.signature)


def from_conversation(kept: ConversationMessage) -> Message:
    """Convert a message of a conversation, with its position and time."""
    return replace(from_message(kept.message), sequence=kept.sequence, created_at=moment(kept.create_time))


def to_tool(tool: Tool) -> options_pb2.Tool:
    """Convert a tool into the message of the contract."""
    parameters = "" if tool.parameters is None else json.dumps(tool.parameters)
    return options_pb2.Tool(
        name=tool.name,
        description=tool.description,
        parameters=parameters,
        strict=tool.strict,
        provider_params=to_json(tool.provider_params),
    )
