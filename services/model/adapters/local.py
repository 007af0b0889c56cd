"""The models of this process as one provider, `local`."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.model.provider import ProviderEvent


class Engine(Protocol):
    """One model of this process."""

    @property
    def model(self) -> Model: ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[ProviderEvent, None]:
        """As Provider.generate."""
        ...


class LocalProvider:
    """Provider over engines, and over models that are only listed because another method serves them."""

    name = "local"
    lacks = frozenset({"logprobs", "json_object", "json_schema", "reasoning_effort"})

    def __init__(self, engines: Sequence[Engine], listed: Sequence[Model]) -> None:
        self._engines = {engine.model.name: engine for engine in engines}
        self._models = [*(engine.model for engine in engines), *listed]

    async def models(self) -> Sequence[Model]:
        """All of them, always."""
        return self._models

    def described(self, name: str) -> Model:
        """The model itself: it is never away."""
        return next(model for model in self._models if model.name == name)

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Let the engine write."""
        return self._engines[model].generate(request)


def local_model(name: str, *capabilities: "Model.Capability.ValueType") -> Model:
    """A catalogue entry of this provider."""
    return Model(name=name, provider=LocalProvider.name, capabilities=capabilities, available=True, owned_by="somamesh")
