"""Parameters of a generation that not every provider honours: refused by name, or left out when the caller says so.

What each provider lacks is data of its adapter: names of `PARAMETERS`.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import GenerateRequest, ResponseFormat

from services.mesh.call import errors


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: the field it is, whether a request asks for it, and how a request no longer does."""

    field: str
    asked: Callable[[GenerateRequest], bool]
    leave_out: Callable[[GenerateRequest], None]


def _sampling(name: str, nothing: float | None = None) -> Parameter:
    """A field of `sampling`; the value `nothing` asks for nothing."""

    def asked(request: GenerateRequest) -> bool:
        sampling: Any = request.sampling
        return bool(sampling.HasField(name) and getattr(sampling, name) != nothing)

    return Parameter(f"sampling.{name}", asked, lambda request: _clear(request.sampling, name))


def _clear(sampling: Any, name: str) -> None:
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


def fit(request: GenerateRequest, lacks: Collection[str], provider: str) -> tuple[GenerateRequest, list[str]]:
    """The request as a provider that `lacks` parameters can take it, and the fields that were left out.

    Raises:
        InvalidArgument: it asks for what the provider lacks, and does not say that it may be dropped.
    """
    missed = [each for name in lacks if (each := PARAMETERS[name]).asked(request)]
    if not missed:
        return request, []
    fields = sorted(each.field for each in missed)
    if not request.drop_params:
        raise errors.InvalidArgument(
            f"{provider} cannot honour {', '.join(fields)}; `drop_params` leaves out what it cannot",
            reason=reasons.PARAMETER_NOT_SUPPORTED,
            metadata={"provider": provider},
            violations=[errors.FieldViolation(field, "is not supported by this provider") for field in fields],
        )
    fitted = GenerateRequest()
    fitted.CopyFrom(request)
    for each in missed:
        each.leave_out(fitted)
    return fitted, fields
