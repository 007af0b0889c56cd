"""Parameters of a generation that not every provider supports. They are refused by name, or dropped on request.

The adapter of each provider names the parameters that it lacks; the names are those of `PARAMETERS`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import GenerationOptions, ResponseFormat

from services.mesh.call import errors


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


def _format(kind: "ResponseFormat.Type.ValueType") -> Parameter:
    return Parameter(
        "response_format",
        lambda options: options.response_format.type == kind,
        lambda options: options.ClearField("response_format"),
    )


PARAMETERS: Mapping[str, Parameter] = {
    "top_k": _sampling("top_k"),
    "repetition_penalty": _sampling("repetition_penalty", 1.0),
    "frequency_penalty": _sampling("frequency_penalty", 0.0),
    "presence_penalty": _sampling("presence_penalty", 0.0),
    "seed": _sampling("seed"),
    "logprobs": _sampling("top_logprobs"),
    "reasoning_effort": _reasoning("effort"),
    "json_object": _format(ResponseFormat.TYPE_JSON_OBJECT),
    "json_schema": _format(ResponseFormat.TYPE_JSON_SCHEMA),
}


def supported_request(
    request: GenerateRequest, lacks: Collection[str], provider: str
) -> tuple[GenerateRequest, list[str]]:
    """The request without the parameters that the provider `lacks`, and the fields that were dropped.

    Raises:
        InvalidArgument: the request sets a parameter that the provider lacks, and `drop_params` is not set.
    """
    unsupported = [each for name in lacks if (each := PARAMETERS[name]).is_set(request.options)]
    if not unsupported:
        return request, []
    fields = sorted(each.field for each in unsupported)
    if not request.options.drop_params:
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
    return supported, fields
