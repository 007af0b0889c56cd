"""Makes the body of a chat completion request (https://platform.openai.com/docs/api-reference/chat/create)."""

import re
from typing import Any

import orjson
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER, Message, ToolCall
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import ResponseFormat, Sampling, Tool, ToolChoice

from services.model.adapters.history import CallIds, arguments_of, instructions
from services.model.adapters.json_text import decimal, parse_object

_ROLES = {ROLE_USER: "user", ROLE_ASSISTANT: "assistant", ROLE_TOOL: "tool"}
_CHOICES = {ToolChoice.MODE_AUTO: "auto", ToolChoice.MODE_NONE: "none", ToolChoice.MODE_REQUIRED: "required"}
# OpenAI accepts any printable character in the id of a tool call, up to a maximum length.
_NOT_IN_IDS = re.compile(r"[\x00-\x1f]")
_LONGEST_ID = 40
_SAME_NAME = (
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "seed",
)


def chat_body(request: GenerateRequest, model: str, max_tokens_field: str) -> dict[str, Any]:
    """The JSON body. All fields that the caller set are sent; a server refuses those that it does not support.

    Raises:
        InvalidArgument: a JSON schema is not JSON.
    """
    options = request.options
    body: dict[str, Any] = {
        "model": model,
        "messages": _messages(request),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    _add_sampling(body, options.sampling, max_tokens_field)
    if options.reasoning.HasField("effort"):
        body["reasoning_effort"] = options.reasoning.effort
    if options.tools:
        body["tools"] = [_tool(index, tool) for index, tool in enumerate(options.tools)]
        if options.tool_choice.mode == ToolChoice.MODE_NAMED:
            body["tool_choice"] = {"type": "function", "function": {"name": options.tool_choice.name}}
        elif options.tool_choice.mode:
            body["tool_choice"] = _CHOICES[options.tool_choice.mode]
        if options.HasField("parallel_tool_calls"):
            body["parallel_tool_calls"] = options.parallel_tool_calls
    if (response_format := _response_format(options.response_format)) is not None:
        body["response_format"] = response_format
    if options.user:
        body["user"] = options.user
    return body


def _messages(request: GenerateRequest) -> list[dict[str, Any]]:
    ids = CallIds(_NOT_IN_IDS, _LONGEST_ID)
    messages = [_message(message, ids) for message in request.messages if message.role != ROLE_SYSTEM]
    if system := instructions(request):
        # There is one system message, and it is the first: the templates of many models refuse any other form.
        messages.insert(0, {"role": "system", "content": system})
    return messages


def _message(message: Message, ids: CallIds) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": _ROLES[message.role], "content": message.content}
    if message.name:
        wire["name"] = message.name
    if message.tool_call_id:
        wire["tool_call_id"] = ids.id_of_result(message.tool_call_id)
    if message.tool_calls:
        wire["content"] = message.content or None
        wire["tool_calls"] = [
            {"id": call_id, "type": "function", "function": {"name": call.name, "arguments": _arguments(call)}}
            for call_id, call in zip(ids.ids_of(message.tool_calls), message.tool_calls, strict=True)
        ]
    return wire


def _arguments(call: ToolCall) -> str:
    """The arguments as the model wrote them, if they are a JSON object; the templates of many models parse them."""
    read = arguments_of(call)
    return call.arguments if not read or "arguments" not in read else orjson.dumps(read).decode()


def _add_sampling(body: dict[str, Any], sampling: Sampling, max_tokens_field: str) -> None:
    if sampling.HasField("max_tokens"):
        body[max_tokens_field] = sampling.max_tokens
    for set_field, value in sampling.ListFields():
        if set_field.name in _SAME_NAME:
            body[set_field.name] = decimal(value) if isinstance(value, float) else value
    if sampling.HasField("top_logprobs"):
        body["logprobs"] = True
        body["top_logprobs"] = sampling.top_logprobs
    if sampling.stop_sequences:
        body["stop"] = list(sampling.stop_sequences)


def _tool(index: int, tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters:
        function["parameters"] = parse_object(tool.parameters, f"tools[{index}].parameters")
    if tool.HasField("strict"):
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _response_format(wanted: ResponseFormat) -> dict[str, Any] | None:
    match wanted.type:
        case ResponseFormat.TYPE_TEXT:
            return {"type": "text"}
        case ResponseFormat.TYPE_JSON_OBJECT:
            return {"type": "json_object"}
        case ResponseFormat.TYPE_JSON_SCHEMA:
            schema: dict[str, Any] = {
                "name": wanted.name or "response",
                "schema": parse_object(wanted.schema, "response_format.schema"),
            }
            if wanted.HasField("strict"):
                schema["strict"] = wanted.strict
            return {"type": "json_schema", "json_schema": schema}
        case _:
            return None
