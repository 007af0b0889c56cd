"""The models a caller may name."""

from dataclasses import dataclass

from soma.model.v1 import catalog_service_pb2 as catalog


@dataclass(frozen=True, slots=True)
class Model:
    """A model; `default` answers when none is named, and one that is not `available` says why not."""

    name: str
    provider: str
    default: bool
    available: bool
    unavailable_reason: str


def listed(response: catalog.ListModelsResponse) -> list[Model]:
    """The models of a response, in its order."""
    return [
        Model(each.name, each.provider, each.default, each.available, each.unavailable_reason)
        for each in response.models
    ]
