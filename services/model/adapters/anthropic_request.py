"""Makes the request body of Anthropic's Messages API (https://platform.claude.com/docs/en/api/messages)."""

import re
from typing import Any

from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, Message
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import ResponseFormat, Tool, ToolChoice

from services.model.adapters.history import CallIds, arguments_of, instructions
from services.model.json_text import decimal, parse_object

# The API requires a limit. In the contract it is optional.
DEFAULT_MAX_TOKENS = 4096

# Characters that an id of a tool call may not have, and its maximum length.
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_ID = 64

_CHOICES = {ToolChoice.MODE_AUTO: "auto", ToolChoice.MODE_NONE: "none", ToolChoice.MODE_REQUIRED: "any"}


def messages_body(request: GenerateRequest, model: str) -> dict[str, Any]:
    """The JSON body.

    Raises:
        InvalidArgument: a JSON schema is not JSON; the error names the field.
    """
    sampling = request.options.sampling
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": sampling.max_tokens if sampling.HasField("max_tokens") else DEFAULT_MAX_TOKENS,
        "messages": _turns(request),
        "stream": True,
    }
    if system := instructions(request):
        body["system"] = system
    if sampling.HasField("temperature"):
        body["temperature"] = decimal(sampling.temperature)
    if sampling.HasField("top_p"):
        body["top_p"] = decimal(sampling.top_p)
    if sampling.HasField("top_k"):
        body["top_k"] = sampling.top_k
    if sampling.stop_sequences:
        body["stop_sequences"] = list(sampling.stop_sequences)
    if request.options.tools:
        body["tools"] = [_tool(index, tool) for index, tool in enumerate(request.options.tools)]
        if choice := _choice(request):
            body["tool_choice"] = choice
    if request.options.response_format.type == ResponseFormat.TYPE_JSON_SCHEMA:
        schema = parse_object(request.options.response_format.schema, "response_format.schema")
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    if request.options.user:
        body["metadata"] = {"user_id": request.options.user}
    return body


def _turns(request: GenerateRequest) -> list[dict[str, Any]]:
    """The conversation in alternating turns: consecutive messages of a role are merged, tool results are the user's."""
    turns: list[dict[str, Any]] = []
    ids = CallIds(_NOT_IN_IDS, _LONGEST_ID)
    for message in request.messages:
        if message.role == ROLE_SYSTEM:
            continue
        role = "assistant" if message.role == ROLE_ASSISTANT else "user"
        blocks = _blocks(message, ids)
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        elif blocks:
            turns.append({"role": role, "content": blocks})
    return turns


def _blocks(message: Message, ids: CallIds) -> list[dict[str, Any]]:
    if message.role == ROLE_TOOL:
        return [
            {"type": "tool_result", "tool_use_id": ids.id_of_result(message.tool_call_id), "content": message.content}
        ]
    # The API refuses blank text, even from its own models, but other providers permit it.
    blocks: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content.strip() else []
    for call_id, call in zip(ids.ids_of(message.tool_calls), message.tool_calls, strict=True):
        blocks.append({"type": "tool_use", "id": call_id, "name": call.name, "input": arguments_of(call)})
    return blocks


def _tool(index: int, tool: Tool) -> dict[str, Any]:
    schema = parse_object(tool.parameters, f"tools[{index}].parameters") if tool.parameters else {"type": "object"}
    wire: dict[str, Any] = {"name": tool.name, "input_schema": schema}
    if tool.description:
        wire["description"] = tool.description
    if tool.HasField("strict"):
        wire["strict"] = tool.strict
    return wire


def _choice(request: GenerateRequest) -> dict[str, Any]:
    choice: dict[str, Any] = {}
    if request.options.tool_choice.mode == ToolChoice.MODE_NAMED:
        choice = {"type": "tool", "name": request.options.tool_choice.name}
    elif request.options.tool_choice.mode:
        choice = {"type": _CHOICES[request.options.tool_choice.mode]}
    if request.options.HasField("parallel_tool_calls") and choice.get("type") != "none":
        choice.setdefault("type", "auto")
        choice["disable_parallel_tool_use"] = not request.options.parallel_tool_calls
    return choice
