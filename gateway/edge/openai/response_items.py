"""The `input` of a response, as the contract's items."""

from typing import Any

from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Message, ToolCall
from soma.orchestrator.v1.response_service_pb2 import ResponseInput

from gateway.edge.openai.parts import read_text
from gateway.edge.openai.values import array, members, one_of, refuse, required, text, wrong_type

ROLES = {"system": ROLE_SYSTEM, "developer": ROLE_SYSTEM, "user": ROLE_USER, "assistant": ROLE_ASSISTANT}
PARTS = {
    "input_text": "text",
    "output_text": "text",
    "text": "text",
    "refusal": "refusal",
    "input_image": "Image content",
    "input_file": "File content",
    "input_audio": "Audio content",
}
MOST_ITEMS = 4096
# What an item of an answer has beside its content when a client sends it back.
KEPT = ("type", "id", "status", "phase")


def read_input(value: object) -> list[ResponseInput]:
    """A string, or items: messages, function calls, their outputs, and references to items of earlier responses.

    Raises:
        InvalidArgument: names the item and member at fault.
    """
    if type(value) is str:
        return [ResponseInput(message=Message(role=ROLE_USER, content=value))]
    if type(value) is not list:
        wrong_type(value, "input", "one of a string or array of objects")
    items = array(value, "input", most=MOST_ITEMS)
    if not items:
        message = "Invalid 'input': empty array. Expected an array with minimum length 1."
        refuse(message, "input", reasons.EMPTY_ARRAY)
    return [_item(item, f"input[{index}]") for index, item in enumerate(items)]


def _item(value: object, param: str) -> ResponseInput:
    item = members(value, param)
    kind = one_of(item.get("type") or "message", f"{param}.type", READERS)
    return READERS[kind](item, param)


def _message(item: dict[str, Any], param: str) -> ResponseInput:
    members(item, param, (*KEPT, "role", "content"))
    role = ROLES[one_of(required(item, "role", param), f"{param}.role", ROLES)]
    content = read_text(required(item, "content", param), f"{param}.content", PARTS)
    return ResponseInput(message=Message(role=role, content=content))


def _call(item: dict[str, Any], param: str) -> ResponseInput:
    # Clients add the arguments once more, as they read them.
    members(item, param, (*KEPT, "call_id", "name", "arguments", "parsed_arguments"))
    call = ToolCall(
        call_id=text(required(item, "call_id", param), f"{param}.call_id"),
        name=text(required(item, "name", param), f"{param}.name"),
        arguments=text(required(item, "arguments", param), f"{param}.arguments"),
    )
    return ResponseInput(message=Message(role=ROLE_ASSISTANT, tool_calls=[call]))


def _output(item: dict[str, Any], param: str) -> ResponseInput:
    members(item, param, (*KEPT, "call_id", "output"))
    call_id = text(required(item, "call_id", param), f"{param}.call_id")
    content = read_text(required(item, "output", param), f"{param}.output", PARTS)
    return ResponseInput(message=Message(role=ROLE_TOOL, tool_call_id=call_id, content=content))


def _reference(item: dict[str, Any], param: str) -> ResponseInput:
    members(item, param, ("type", "id"))
    return ResponseInput(item_id=text(required(item, "id", param), f"{param}.id"))


READERS = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _output,
    "item_reference": _reference,
}
