"""Makes the request body of Anthropic's Messages API (https://platform.claude.com/docs/en/api/messages)."""

import re
from collections.abc import Mapping
from typing import Any

import structlog
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import GenerationOptions, ResponseFormat, Sampling, Tool, ToolChoice

from services.mesh.call import errors
from services.model.adapters.anthropic_messages import (
    Block,
    calls_without_thought,
    file_ids_in,
    has_thoughts,
    system_of,
    turns_of,
    without_thoughts,
)
from services.model.adapters.anthropic_thinking import (
    BINDING_BETA,
    Abilities,
    loosen_binding,
    thinking_members,
)
from services.model.adapters.counts import member
from services.model.allowed_tools import offered
from services.model.json_text import decimal, parse_object
from services.model.media.contents import Contents
from services.model.parameters import MEMBERS

_log = structlog.get_logger(__name__)

# The API requires a limit. In the contract it is optional. A model whose own limit is known gets at most the second.
DEFAULT_MAX_TOKENS = 4096
_MOST_DEFAULT_TOKENS = 32_000

_CHOICES = {ToolChoice.MODE_AUTO: "auto", ToolChoice.MODE_NONE: "none", ToolChoice.MODE_REQUIRED: "any"}
# The members of a tool that the contract has no field for. Tools that run on Anthropic's servers may have any.
_TOOL_MEMBERS = ("cache_control", "type", "defer_loading", "input_examples", "allowed_callers", "eager_input_streaming")
# The members of a body that count as input; the API refuses all others when it counts tokens.
COUNTED = frozenset(
    {
        *("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"),
        *("context_management", "mcp_servers", "speed"),
    }
)
_PARAMS = "provider_params"
_BETA = re.compile(r"[A-Za-z0-9._-]+")
# The trial feature that a request with the id of a file needs.
_FILES = "files-api-2025-04-14"


def messages_body(
    request: GenerateRequest,
    model: str,
    provider: str = "",
    contents: Contents | None = None,
    abilities: Abilities | None = None,
) -> dict[str, Any]:
    """The JSON body; `contents` are needed if a message has media.

    Raises:
        InvalidArgument: a JSON schema or `provider_params` are not a JSON object, or a part cannot be sent.
    """
    options, abilities = request.options, abilities or Abilities()
    turns = turns_of(request, provider, contents)
    body: dict[str, Any] = {"model": model, "max_tokens": 0, "messages": turns}
    if not options.whole:
        body["stream"] = True
    if system := system_of(request):
        body["system"] = system
    _add_sampling(body, options.sampling)
    _add_tools(body, options)
    body.update(thinking_members(options, abilities))
    if options.response_format.type == ResponseFormat.TYPE_JSON_SCHEMA:
        schema = parse_object(options.response_format.schema, "response_format.schema")
        body.setdefault("output_config", {})["format"] = {"type": "json_schema", "schema": schema}
    if options.user:
        body["metadata"] = {"user_id": options.user}
    if options.provider_params:
        _add_given(body, options.provider_params)
    if abilities.bound and has_thoughts(turns) and not loosen_binding(body):
        body["messages"] = turns = without_thoughts(turns)
    budget = _budget(body, turns)
    body["max_tokens"] = _limit(options.sampling, abilities, budget)
    return body


def betas_of(request: GenerateRequest, body: Mapping[str, Any]) -> list[str]:
    """The trial features of the API that the request and its body use, for the header `anthropic-beta`.

    Raises:
        InvalidArgument: `provider_params.betas` is no list of names.
    """
    given: Any = []
    if "betas" in request.options.provider_params:
        given = parse_object(request.options.provider_params, _PARAMS).get("betas", [])
    if not isinstance(given, list) or not all(isinstance(each, str) and _BETA.fullmatch(each) for each in given):
        field = f"{MEMBERS}betas"
        raise errors.InvalidArgument(
            f"{field} is not a list of names", violations=[errors.FieldViolation(field, "must be a list of names")]
        )
    used = [_FILES] if file_ids_in(request) else []
    if member(body.get("thinking"), "block_binding") is not None:
        used.append(BINDING_BETA)
    return list(dict.fromkeys([*given, *used]))


def runs_on_server(options: GenerationOptions) -> bool:
    """Whether the request has tools that Anthropic's servers run, so that an answer may pause."""
    if "mcp_servers" in options.provider_params:
        return True
    return any(
        tool.provider_params and _is_server_tool(_given(index, tool)) for index, tool in enumerate(options.tools)
    )


def _add_sampling(body: dict[str, Any], sampling: Sampling) -> None:
    # 1 is the default of both, and the API refuses some values together, or from some models.
    if sampling.HasField("temperature") and sampling.temperature != 1.0:
        body["temperature"] = decimal(sampling.temperature)
    if sampling.HasField("top_p") and sampling.top_p != 1.0:
        body["top_p"] = decimal(sampling.top_p)
    if sampling.HasField("top_k"):
        body["top_k"] = sampling.top_k
    # The API refuses a stop sequence of white space alone.
    if stops := [stop for stop in sampling.stop_sequences if stop.strip()]:
        body["stop_sequences"] = stops


def _add_tools(body: dict[str, Any], options: GenerationOptions) -> None:
    if options.tools:
        body["tools"] = [_tool(index, tool) for index, tool in enumerate(offered(options))]
        if choice := _choice(options):
            body["tool_choice"] = choice


def _given(index: int, tool: Tool) -> dict[str, Any]:
    return parse_object(tool.provider_params, f"tools[{index}].{_PARAMS}")


def _is_server_tool(given: dict[str, Any]) -> bool:
    return bool(given.get("type", "custom") != "custom")


def _tool(index: int, tool: Tool) -> dict[str, Any]:
    given = _given(index, tool) if tool.provider_params else {}
    if _is_server_tool(given):
        return {**given, "name": tool.name}
    schema = parse_object(tool.parameters, f"tools[{index}].parameters") if tool.parameters else {}
    wire: dict[str, Any] = {name: given[name] for name in _TOOL_MEMBERS if name in given}
    wire |= {"name": tool.name, "input_schema": {"type": "object", **schema}}
    if tool.description:
        wire["description"] = tool.description
    if tool.HasField("strict"):
        wire["strict"] = tool.strict
    return wire


def _choice(options: GenerationOptions) -> dict[str, Any]:
    choice: dict[str, Any] = {}
    if options.tool_choice.mode == ToolChoice.MODE_NAMED:
        choice = {"type": "tool", "name": options.tool_choice.name}
    elif options.tool_choice.mode:
        choice = {"type": _CHOICES[options.tool_choice.mode]}
    if options.HasField("parallel_tool_calls") and choice.get("type") != "none":
        choice.setdefault("type", "auto")
        choice["disable_parallel_tool_use"] = not options.parallel_tool_calls
    return choice


def _add_given(body: dict[str, Any], provider_params: str) -> None:
    """Add the caller's own members. Those that the mesh makes stay, also inside an object that both have.

    Raises:
        InvalidArgument: they say how much the model thinks, and `reasoning` says it in another way.
    """
    for name, value in parse_object(provider_params, _PARAMS).items():
        if name == "betas":
            continue
        known = body.get(name)
        if name == "thinking" and known is not None:
            body[name] = _one_thinking(known, value)
        elif isinstance(known, dict) and isinstance(value, dict):
            body[name] = {**value, **known}
        elif name not in body:
            body[name] = value


def _one_thinking(known: dict[str, Any], given: Any) -> dict[str, Any]:
    """What `reasoning` makes of `thinking`, with the caller's further members.

    Raises:
        InvalidArgument: one is not adaptive.
    """
    if member(given, "type") == known["type"] == "adaptive":
        return {**known, **given}
    field = f"{MEMBERS}thinking"
    raise errors.InvalidArgument(
        f"{field} and `reasoning` both say how much the model thinks",
        violations=[errors.FieldViolation(field, "cannot be set beside `reasoning`")],
    )


def _budget(body: dict[str, Any], turns: list[Block]) -> int:
    """The most tokens of thoughts; 0 if there is no such limit.

    A model that thinks within a limit must have begun its tool calls with a thought. If it began them without one, such
    as another provider's model did, it answers this request without thinking, so that the conversation can continue.
    """
    thinking = body.get("thinking")
    if member(thinking, "type") != "enabled":
        return 0
    if calls_without_thought(turns):
        _log.info("thinking_left_out", model=body["model"], why="the calls of tools began without a thought")
        del body["thinking"]
        return 0
    budget = member(thinking, "budget_tokens")
    return budget if isinstance(budget, int) else 0


def _limit(sampling: Sampling, abilities: Abilities, budget: int) -> int:
    """The most tokens of the answer, thoughts included: more than `budget`."""
    most = abilities.most_tokens
    if sampling.HasField("max_tokens"):
        limit = sampling.max_tokens
    else:
        limit = min(most, _MOST_DEFAULT_TOKENS) if most else DEFAULT_MAX_TOKENS
    if limit <= budget:
        limit += budget
        return min(limit, most) if most > budget else limit
    return limit
