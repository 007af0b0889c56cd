"""The provider `local`: the models of this process."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.model.provider import ProviderEvent


class Engine(Protocol):
    """A model of this process."""

    @property
    def model(self) -> Model: ...

    def generate(self, request: GenerateRequest) -> AsyncGenerator[ProviderEvent, None]:
        """The same as Provider.generate."""
        ...


class LocalProvider:
    """A Provider of engines. It also lists models that another method serves."""

    name = "local"
    lacks = frozenset(
        {
            *("typed_tools", "logprobs", "json_object", "json_schema"),
            *("reasoning_effort", "reasoning_budget", "suffix", "echo"),
        }
    )
    takes = frozenset[str]()

    def __init__(self, engines: Sequence[Engine], listed: Sequence[Model]) -> None:
        self._engines = {engine.model.name: engine for engine in engines}
        self._models = [*(engine.model for engine in engines), *listed]

    async def models(self) -> Sequence[Model]:
        """All models; they are always available."""
        return self._models

    def described(self, name: str) -> Model:
        """The model itself. It is always available."""
        return next(model for model in self._models if model.name == name)

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Generate with the engine of the model."""
        return self._engines[model].generate(request)


def local_model(name: str, *capabilities: "Model.Capability.ValueType") -> Model:
    """An entry of this provider for the catalogue."""
    return Model(
        name=name,
        provider=LocalProvider.name,
        capabilities=capabilities,
        available=True,
        owned_by="somamesh",
        input_modalities=[Model.MODALITY_TEXT],
    )
