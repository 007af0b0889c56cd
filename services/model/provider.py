"""What the service asks of whoever runs models: a vendor's server, or an engine in this process."""

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import ToolCallDelta
from soma.model.v1.model_service_pb2 import (
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerationFinished,
    TextDelta,
)

ProviderEvent: TypeAlias = TextDelta | ToolCallDelta | GenerationFinished


class Provider(Protocol):
    """Runs models. `name` is what the catalogue calls it; no two share one."""

    @property
    def name(self) -> str: ...

    @property
    def lacks(self) -> Collection[str]:
        """Parameters it cannot honour, by their names in `services.model.parameters`."""
        ...

    async def models(self) -> Sequence[Model]:
        """The models it serves now, in the order in which one of them may become the default.

        Raises:
            MeshError: it cannot be reached, or refuses the credential.
        """
        ...

    def described(self, name: str) -> Model:
        """What is known of a model by its name alone, while the provider cannot be asked."""
        ...

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream `model`'s continuation of the request's conversation.

        Pieces of text and tool calls in order, then exactly one `GenerationFinished` with its reason, its usage where
        the provider counts, and its sources where the model quotes. Closing the generator stops the work at once.

        Raises:
            MeshError: before or between events; nothing follows.
        """
        ...


@runtime_checkable
class Embeds(Protocol):
    """A provider that makes vectors too."""

    async def embed(self, request: EmbedRequest, model: str) -> EmbedResponse:
        """`model`'s vectors of the request's texts, in their order, with the tokens the provider counted.

        Raises:
            MeshError: it failed, or cannot do what is asked.
        """
        ...
