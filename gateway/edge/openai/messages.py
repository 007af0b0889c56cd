"""The `messages` of a request, as the contract's messages."""

from typing import Any

from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    Message,
    ToolCall,
)

from gateway.edge.openai.parts import read_text
from gateway.edge.openai.values import array, members, missing, one_of, refuse, required, text, wrong_type

ROLES = {
    "system": ROLE_SYSTEM,
    "developer": ROLE_SYSTEM,
    "user": ROLE_USER,
    "assistant": ROLE_ASSISTANT,
    "tool": ROLE_TOOL,
}
MEMBERS = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "annotations", "parsed"})
# What an assistant's message carries as null when a client sends back the one it received.
NULL_MEMBERS = frozenset({"audio", "function_call"})
# With what clients add to the calls they received; as `parsed` of a message, it is another form of what stands there.
CALL_MEMBERS = ("id", "type", "function", "index")
FUNCTION_MEMBERS = ("name", "arguments", "parsed_arguments")
PARTS = {
    "text": "text",
    "refusal": "refusal",
    "image_url": "Image content",
    "input_audio": "Audio content",
    "file": "File content",
}
MOST_MESSAGES = 4096


def read_messages(value: object) -> list[Message]:
    """The conversation, oldest first.

    Raises:
        InvalidArgument: names the message and member at fault.
    """
    turns = array(value, "messages", most=MOST_MESSAGES)
    if not turns:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        refuse(message, "messages", reasons.EMPTY_ARRAY)
    return [_message(turn, f"messages[{index}]") for index, turn in enumerate(turns)]


def _message(value: object, param: str) -> Message:
    turn = members(value, param)
    role = ROLES[one_of(required(turn, "role", param), f"{param}.role", ROLES)]
    message = Message(role=role)
    for name, given in turn.items():
        if name not in MEMBERS:
            if name not in NULL_MEMBERS or given is not None:
                refuse(f"Unknown parameter: '{param}.{name}'.", f"{param}.{name}", reasons.UNKNOWN_PARAMETER)
        elif given is None or name in ("role", "annotations", "parsed"):
            continue
        elif name == "content":
            message.content = read_text(given, f"{param}.content", PARTS)
        elif name == "tool_calls":
            message.tool_calls.extend(_tool_calls(given, f"{param}.tool_calls", role))
        elif name == "tool_call_id":
            message.tool_call_id = text(given, f"{param}.tool_call_id")
        elif name == "name":
            message.name = text(given, f"{param}.name")
        else:
            message.content = message.content or text(given, f"{param}.refusal")
    _complete(message, turn, param)
    return message


def _complete(message: Message, turn: dict[str, Any], param: str) -> None:
    if message.role == ROLE_TOOL and not message.tool_call_id:
        missing(f"{param}.tool_call_id")
    if turn.get("content") is None and not message.content and not message.tool_calls:
        wrong_type(None, f"{param}.content", "a string")


def _tool_calls(value: object, param: str, role: int) -> list[ToolCall]:
    if role != ROLE_ASSISTANT:
        refuse(f"Invalid '{param}': only an assistant's message has tool calls.", param, reasons.INVALID_VALUE)
    return [_tool_call(call, f"{param}[{index}]") for index, call in enumerate(array(value, param, most=128))]


def _tool_call(value: object, param: str) -> ToolCall:
    call = members(value, param, CALL_MEMBERS)
    one_of(required(call, "type", param), f"{param}.type", ("function",))
    function = members(required(call, "function", param), f"{param}.function", FUNCTION_MEMBERS)
    return ToolCall(
        call_id=text(required(call, "id", param), f"{param}.id"),
        name=text(required(function, "name", f"{param}.function"), f"{param}.function.name"),
        arguments=text(required(function, "arguments", f"{param}.function"), f"{param}.function.arguments"),
    )
