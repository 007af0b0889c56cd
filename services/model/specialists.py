"""Finds the models that do something else than chat: that hear, speak, draw, judge or sort."""

from typing import NoReturn

from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import Model

from services.mesh.call import errors
from services.model.catalogue import Catalogue, Route, purpose_of
from services.model.provider import HasMethods, Provider

# Most models that a message names.
_MOST_NAMED = 5


class Specialists:
    """The models of a catalogue, by what they can do."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def find(self, name: str, capability: "Model.Capability.ValueType", what: str) -> Route:
        """The route of a model that has a capability; of the first available one if `name` is empty.

        Args:
            what: what such a model does, as text for people, such as `speak a text`.

        Raises:
            NotFound: no provider has such a model now.
            InvalidArgument: the model lacks the capability, or no model has it; the message names those that have it.
        """
        if name:
            route = await self._catalogue.find(name)
            if capability not in route.model.capabilities:
                self._refuse(route.model, capability, what)
            return route
        first = self._first(capability)
        if first is None:
            await self._catalogue.look()
            first = self._first(capability)
        if first is None:
            raise errors.InvalidArgument(
                f"no model that is available can {what}; the list of models says which providers are not used, and why",
                reason=reasons.MODEL_CAPABILITY_MISSING,
                metadata={"capability": Model.Capability.Name(capability)},
            )
        return first

    def _first(self, capability: "Model.Capability.ValueType") -> Route | None:
        for entry in self._catalogue.entries:
            if not entry.problem and _offers(entry.provider, capability):
                for model in entry.models.values():
                    if capability in model.capabilities:
                        return Route(entry.provider, model)
        return None

    def _refuse(self, model: Model, capability: "Model.Capability.ValueType", what: str) -> NoReturn:
        """Refuse a model without a capability, and name those that have it."""
        able = [
            each
            for entry in self._catalogue.entries
            if _offers(entry.provider, capability)
            for each in entry.listing()
            if each.available and capability in each.capabilities
        ]
        able.sort(key=lambda each: each.provider != model.provider)
        names = ", ".join(f"`{each.name}`" for each in able[:_MOST_NAMED])
        purpose = purpose_of(model)
        raise errors.InvalidArgument(
            f"the model `{model.name}` cannot {what}"
            + (f"; it {purpose}" if purpose else "")
            + (f"; these can: {names}" if names else "; no model that is available can"),
            reason=reasons.MODEL_CAPABILITY_MISSING,
            metadata={"model": model.name, "capability": Model.Capability.Name(capability)},
        )


def _offers(provider: Provider, capability: "Model.Capability.ValueType") -> bool:
    """Whether a provider has a method for models with a capability."""
    return isinstance(provider, HasMethods) and capability in provider.methods.capabilities
