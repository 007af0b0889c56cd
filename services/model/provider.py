"""The interface of a provider, which runs models: a vendor's server, or the engines of this process."""

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from soma.model.v1.catalog_service_pb2 import Model, RepositoryModel
from soma.model.v1.message_pb2 import Delta
from soma.model.v1.model_service_pb2 import (
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerationFinished,
)

ProviderEvent: TypeAlias = Delta | GenerationFinished


class Provider(Protocol):
    """Runs models. `name` is its unique name in the catalogue."""

    @property
    def name(self) -> str: ...

    @property
    def lacks(self) -> Collection[str]:
        """What it does not support: parameters by their names in `services.model.parameters`, and other members."""
        ...

    @property
    def takes(self) -> Collection[str] | None:
        """The members of `provider_params` that it has, if it refuses all others; None if it may have any."""
        ...

    async def models(self) -> Sequence[Model]:
        """The models that it serves now; the first suitable one may become the default.

        Raises:
            MeshError: the provider cannot be reached, or refuses the credential.
        """
        ...

    def described(self, name: str) -> Model:
        """The facts about a model that its name alone gives, while the provider cannot be asked."""
        ...

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream the answer of `model` to the conversation in the request.

        It yields pieces of the answer in order, then exactly one `GenerationFinished` with the reason, the
        usage if the provider counts it, and the sources if the model quotes. Closing the generator stops the work at
        once.

        Raises:
            MeshError: before or between events; no event follows.
        """
        ...


@runtime_checkable
class Excludes(Protocol):
    """A provider with parameters that not all of its models have, or that do not go with others."""

    def excluded(self, request: GenerateRequest, model: str) -> Collection[str]:
        """What `model` does not support beside what the request asks for, by the names that `lacks` has.

        Raises:
            InvalidArgument: `provider_params` are no JSON object.
        """
        ...


@runtime_checkable
class Embeds(Protocol):
    """A provider that can also make vectors."""

    async def embed(self, request: EmbedRequest, model: str) -> EmbedResponse:
        """The vectors that `model` makes of the request's texts, in their order, with the provider's count of tokens.

        Raises:
            MeshError: the provider failed, or does not support the request.
        """
        ...


@runtime_checkable
class Loads(Protocol):
    """A provider whose server has a repository of models, and loads them when it is told to."""

    async def repository(self) -> Sequence[RepositoryModel]:
        """The models of the repository, by name.

        Raises:
            MeshError: the server does not answer.
        """
        ...

    async def load(self, name: str, configuration: str) -> None:
        """Load a model; `configuration` is a JSON object that replaces its configuration, or empty.

        Raises:
            FailedPrecondition: reason MODEL_LOAD_FAILED.
            MeshError: the server does not answer, or has no such model.
        """
        ...

    async def unload(self, name: str) -> None:
        """Unload a model.

        Raises:
            MeshError: the server does not answer, or has no such model.
        """
        ...
