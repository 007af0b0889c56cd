"""Parameters of a generation that not every provider supports. They are refused by name, or dropped on request.

The adapter of each provider names the parameters that it lacks, by their names in `PARAMETERS`, and the members of
`provider_params` that it lacks, as `provider_params.<name>`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import GenerationOptions, ResponseFormat, Tool, ToolChoice

from services.mesh.call import errors
from services.model.json_text import parse_object


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its field in the options, a test whether they set it, and a function that clears it."""

    field: str
    is_set: Callable[[GenerationOptions], bool]
    clear: Callable[[GenerationOptions], None]


def _sampling(name: str, nothing: float | None = None) -> Parameter:
    """A field of `sampling`; the value `nothing` has no effect."""

    def is_set(options: GenerationOptions) -> bool:
        sampling: Any = options.sampling
        return bool(sampling.HasField(name) and getattr(sampling, name) != nothing)

    return Parameter(f"sampling.{name}", is_set, lambda options: _clear_field(options.sampling, name))


def _reasoning(name: str) -> Parameter:
    """A field of `reasoning`."""

    def is_set(options: GenerationOptions) -> bool:
        reasoning: Any = options.reasoning
        return bool(reasoning.HasField(name))

    return Parameter(f"reasoning.{name}", is_set, lambda options: _clear_field(options.reasoning, name))


def _clear_field(holder: Any, name: str) -> None:
    holder.ClearField(name)


def _completion(name: str) -> Parameter:
    """A field of `completion`."""

    def is_set(options: GenerationOptions) -> bool:
        return bool(getattr(options.completion, name))

    return Parameter(f"completion.{name}", is_set, lambda options: _clear_field(options.completion, name))


def _format(kind: "ResponseFormat.Type.ValueType") -> Parameter:
    return Parameter(
        "response_format",
        lambda options: options.response_format.type == kind,
        lambda options: options.ClearField("response_format"),
    )


def _runs_elsewhere(tool: Tool) -> bool:
    """Whether a tool is one of Anthropic's own types, which only its models know."""
    if "type" not in tool.provider_params:
        return False
    return parse_object(tool.provider_params, "tools.provider_params").get("type", "custom") not in ("custom", None)


def _keep_plain_tools(options: GenerationOptions) -> None:
    plain = [tool for tool in options.tools if not _runs_elsewhere(tool)]
    del options.tools[:]
    options.tools.extend(plain)


PARAMETERS: Mapping[str, Parameter] = {
    "top_k": _sampling("top_k"),
    "repetition_penalty": _sampling("repetition_penalty", 1.0),
    "frequency_penalty": _sampling("frequency_penalty", 0.0),
    "presence_penalty": _sampling("presence_penalty", 0.0),
    "seed": _sampling("seed"),
    "logprobs": _sampling("top_logprobs"),
    "reasoning_effort": _reasoning("effort"),
    "reasoning_budget": _reasoning("budget_tokens"),
    "json_object": _format(ResponseFormat.TYPE_JSON_OBJECT),
    "json_schema": _format(ResponseFormat.TYPE_JSON_SCHEMA),
    "forced_tool": Parameter(
        "tool_choice",
        lambda options: options.tool_choice.mode in (ToolChoice.MODE_REQUIRED, ToolChoice.MODE_NAMED),
        lambda options: options.ClearField("tool_choice"),
    ),
    "suffix": _completion("suffix"),
    "echo": _completion("echo"),
    # Tools of a vendor's own types, such as those that run on Anthropic's servers.
    "typed_tools": Parameter(
        "tools", lambda options: any(_runs_elsewhere(tool) for tool in options.tools), _keep_plain_tools
    ),
    "temperature": _sampling("temperature", 1.0),
    "top_p": _sampling("top_p", 1.0),
}


# Members of a body that the contract has fields for, or that would change what the mesh reads of the answer.
_OWN = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "seed",
        "frequency_penalty",
        "presence_penalty",
        "repetition_penalty",
        "logprobs",
        "top_logprobs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "user",
        "n",
        "audio",
    }
)
_TEXT_ALONE = ["text"]
_PARAMS = "provider_params"
# Before the name of a member of `provider_params`.
MEMBERS = f"{_PARAMS}."


def supported_request(
    request: GenerateRequest, lacks: Collection[str], provider: str, takes: Collection[str] | None = None
) -> tuple[GenerateRequest, list[str]]:
    """The request without what the provider does not support, and the fields that were dropped.

    That are the parameters and members of `provider_params` that it `lacks`, and the members that it does not `take`.

    Raises:
        InvalidArgument: the request sets something that the provider does not support, and `drop_params` is not set;
            or `provider_params` are no JSON object, or have a member that the contract has a field for.
    """
    options = request.options
    unsupported = [each for name in lacks if (each := PARAMETERS.get(name)) is not None and each.is_set(options)]
    params = _params(options)
    refused = [name for name in params if MEMBERS + name in lacks or (takes is not None and name not in takes)]
    if not unsupported and not refused:
        return request, []
    fields = sorted([*(each.field for each in unsupported), *(MEMBERS + name for name in refused)])
    if not options.drop_params:
        raise errors.InvalidArgument(
            f"{provider} does not support {', '.join(fields)}; `drop_params` leaves them out",
            reason=reasons.PARAMETER_NOT_SUPPORTED,
            metadata={"provider": provider},
            violations=[errors.FieldViolation(field, "is not supported by this provider") for field in fields],
        )
    supported = GenerateRequest()
    supported.CopyFrom(request)
    for each in unsupported:
        each.clear(supported.options)
    if refused:
        left = {name: value for name, value in params.items() if name not in refused}
        supported.options.provider_params = orjson.dumps(left).decode() if left else ""
    return supported, fields


def _params(options: GenerationOptions) -> dict[str, Any]:
    """The members of `provider_params`.

    Raises:
        InvalidArgument: they are no JSON object, or one has a field of its own.
    """
    if not options.provider_params:
        return {}
    params = parse_object(options.provider_params, _PARAMS)
    own = sorted(_OWN & params.keys())
    if params.get("modalities", _TEXT_ALONE) != _TEXT_ALONE:
        # An answer in sound or pictures would be lost, because the contract has no place for it.
        own.append("modalities")
    if own:
        raise errors.InvalidArgument(
            f"{_PARAMS} cannot have {', '.join(own)}: the contract has a field for it, or no place for its answers",
            violations=[errors.FieldViolation(MEMBERS + name, "cannot be here") for name in own],
        )
    return params
