"""Makes the body of a chat completion request (https://platform.openai.com/docs/api-reference/chat/create)."""

from collections.abc import Mapping
from typing import Any

from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import ReasoningOptions, ResponseFormat, Sampling, Tool, ToolChoice

from services.model.adapters.dialect import spoken
from services.model.adapters.openai_messages import chat_messages
from services.model.allowed_tools import offered
from services.model.json_text import decimal, parse_object
from services.model.media.contents import Contents
from services.model.vendor import Chat

_CHOICES = {ToolChoice.MODE_AUTO: "auto", ToolChoice.MODE_NONE: "none", ToolChoice.MODE_REQUIRED: "required"}
_SAME_NAME = (
    "temperature",
    "top_p",
    "top_k",
    "repetition_penalty",
    "frequency_penalty",
    "presence_penalty",
    "seed",
)


def chat_body(
    request: GenerateRequest, model: str, chat: Chat, provider: str, contents: Contents | None = None
) -> dict[str, Any]:
    """The JSON body, in the vendor's form. All fields that the caller set are sent.

    `provider_params` are added to it; they replace nothing that is there.

    Raises:
        InvalidArgument: a JSON schema or `provider_params` is not JSON.
    """
    options = request.options
    body: dict[str, Any] = {"model": model, "messages": chat_messages(request, chat, provider, contents)}
    if not options.whole:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    add_sampling(body, options.sampling)
    if options.tools:
        tools = options.tools if chat.allowed_tools else offered(options)
        body["tools"] = [_tool(index, tool, chat) for index, tool in enumerate(tools)]
        if options.tool_choice.mode == ToolChoice.MODE_NAMED:
            body["tool_choice"] = {"type": "function", "function": {"name": options.tool_choice.name}}
        elif options.tool_choice.allowed and chat.allowed_tools:
            body["tool_choice"] = _allowed(options.tool_choice)
        elif options.tool_choice.mode:
            body["tool_choice"] = _CHOICES[options.tool_choice.mode]
        if options.HasField("parallel_tool_calls"):
            body["parallel_tool_calls"] = options.parallel_tool_calls
    if (response_format := _response_format(options.response_format)) is not None:
        body["response_format"] = response_format
    if options.user:
        body["user"] = options.user
    spoken(body, chat)
    if options.HasField("reasoning"):
        merge(body, _reasoning(options.reasoning, chat))
    if options.provider_params:
        merge(body, parse_object(options.provider_params, "provider_params"))
    return body


def _reasoning(reasoning: ReasoningOptions, chat: Chat) -> dict[str, Any]:
    """How much the model thinks, in the vendor's words."""
    found: dict[str, Any] = {}
    if reasoning.HasField("effort"):
        word = chat.efforts.get(reasoning.effort, reasoning.effort)
        if isinstance(word, str):
            merge(found, _at(chat.effort, word))
            merge(found, chat.thinks)
        else:
            merge(found, word)
    if reasoning.HasField("budget_tokens") and chat.budget:
        merge(found, _at(chat.budget, reasoning.budget_tokens))
    return found


def _at(path: str, value: Any) -> dict[str, Any]:
    """An object with the value at a path such as `reasoning.effort`."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


def merge(body: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add members to the body, also inside its objects; a member that is there stays."""
    for name, value in more.items():
        known = body.get(name)
        if isinstance(known, dict) and isinstance(value, Mapping):
            merge(known, value)
        elif name not in body:
            body[name] = _copied(value)


def _copied(value: Any) -> Any:
    """A copy of the objects of a vendor's file, because the body may get members in them."""
    return {name: _copied(each) for name, each in value.items()} if isinstance(value, Mapping) else value


def add_sampling(body: dict[str, Any], sampling: Sampling) -> None:
    """Add the parameters of the sampling that are set."""
    if sampling.HasField("max_tokens"):
        body["max_tokens"] = sampling.max_tokens
    for set_field, value in sampling.ListFields():
        if set_field.name in _SAME_NAME:
            body[set_field.name] = decimal(value) if isinstance(value, float) else value
    if sampling.HasField("top_logprobs"):
        body["logprobs"] = True
        body["top_logprobs"] = sampling.top_logprobs
    if sampling.stop_sequences:
        body["stop"] = list(sampling.stop_sequences)


def _allowed(choice: ToolChoice) -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in choice.allowed]
    mode = _CHOICES.get(choice.mode, "auto")
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def _tool(index: int, tool: Tool, chat: Chat) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters:
        function["parameters"] = parse_object(tool.parameters, f"tools[{index}].parameters")
    if tool.HasField("strict"):
        function["strict"] = tool.strict
    wire: dict[str, Any] = {"type": "function", "function": function}
    if tool.provider_params:
        given = parse_object(tool.provider_params, f"tools[{index}].provider_params")
        merge(wire, {name: value for name, value in given.items() if name in chat.extras or "*" in chat.extras})
    return wire


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
            if wanted.description:
                schema["description"] = wanted.description
            if wanted.HasField("strict"):
                schema["strict"] = wanted.strict
            return {"type": "json_schema", "json_schema": schema}
        case _:
            return None
