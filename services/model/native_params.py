"""Parameters in the protocol of the caller: they go to a provider that speaks it, and to no other."""

from functools import cache
from typing import cast

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.model.catalogue import Route
from services.model.provider import Speaks


def is_native(request: GenerateRequest, route: Route) -> bool:
    """Whether the provider of the route speaks the protocol of the request's native parameters."""
    provider = route.provider
    if not request.options.HasField("native") or not _speaks(type(provider)):
        return False
    return cast(Speaks, provider).speaks(request.options.native.protocol)


def settled(request: GenerateRequest, route: Route) -> GenerateRequest:
    """The request with the parameters that its provider gets; the same one if it has no native parameters."""
    if not request.options.HasField("native"):
        return request
    chosen = GenerateRequest()
    chosen.CopyFrom(request)
    options = chosen.options
    if is_native(request, route):
        options.provider_params = options.native.params
        options.ClearField("reasoning")
    elif Model.CAPABILITY_REASONING not in route.model.capabilities:
        options.ClearField("reasoning")
    options.ClearField("native")
    return chosen


@cache
def _speaks(kind: type[object]) -> bool:
    return issubclass(kind, Speaks)
