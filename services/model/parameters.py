"""Parameters of a generation that not every provider supports. They are refused by name, or dropped on request.

The adapter of each provider names the parameters that it lacks; the names are those of `PARAMETERS`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.options_pb2 import ResponseFormat

from services.mesh.call import errors


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: its field, a test whether a request sets it, and a function that clears it."""

    field: str
    is_set: Callable[[GenerateRequest], bool]
    clear: Callable[[GenerateRequest], None]


def _sampling(name: str, nothing: float | None = None) -> Parameter:
    """A field of `sampling`; the value `nothing` has no effect."""

    def is_set(request: GenerateRequest) -> bool:
        sampling: Any = request.sampling
        return bool(sampling.HasField(name) and getattr(sampling, name) != nothing)

    return Parameter(f"sampling.{name}", is_set, lambda request: _clear_field(request.sampling, name))


def _clear_field(sampling: Any, name: str) -> None:
    sampling.ClearField(name)


def _format(kind: "ResponseFormat.Type.ValueType") -> Parameter:
    return Parameter(
        "response_format",
        lambda request: request.response_format.type == kind,
        lambda request: request.ClearField("response_format"),
    )


PARAMETERS: Mapping[str, Parameter] = {
    "top_k": _sampling("top_k"),
    "repetition_penalty": _sampling("repetition_penalty", 1.0),
    "frequency_penalty": _sampling("frequency_penalty", 0.0),
    "presence_penalty": _sampling("presence_penalty", 0.0),
    "seed": _sampling("seed"),
    "logprobs": _sampling("top_logprobs"),
    "reasoning_effort": _sampling("reasoning_effort"),
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
    unsupported = [each for name in lacks if (each := PARAMETERS[name]).is_set(request)]
    if not unsupported:
        return request, []
    fields = sorted(each.field for each in unsupported)
    if not request.drop_params:
        raise errors.InvalidArgument(
            f"{provider} does not support {', '.join(fields)}; `drop_params` leaves them out",
            reason=reasons.PARAMETER_NOT_SUPPORTED,
            metadata={"provider": provider},
            violations=[errors.FieldViolation(field, "is not supported by this provider") for field in fields],
        )
    supported = GenerateRequest()
    supported.CopyFrom(request)
    for each in unsupported:
        each.clear(supported)
    return supported, fields
