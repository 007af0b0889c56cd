"""The interface of a provider, which runs models: a vendor's server, or the engines of this process."""

from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from soma.model.v1.catalog_service_pb2 import Model, RepositoryModel
from soma.model.v1.media_service_pb2 import (
    EditImageRequest,
    GenerateImageRequest,
    GenerateImageResponse,
    SpeakRequest,
    SpeakResponse,
    TranscribeRequest,
    TranscribeResponse,
    TranscriptionFinished,
    TranslateRequest,
)
from soma.model.v1.message_pb2 import Delta
from soma.model.v1.model_service_pb2 import (
    EmbedRequest,
    EmbedResponse,
    GenerateRequest,
    GenerationFinished,
    ModerateRequest,
    ModerateResponse,
    RerankRequest,
    RerankResponse,
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


class CompletionMethod(Protocol):
    """What a method for completions lacks and takes, as in `Provider`."""

    @property
    def unsupported(self) -> Collection[str]: ...

    @property
    def takes(self) -> Collection[str] | None: ...


@runtime_checkable
class Completes(Protocol):
    """A provider with a method for completions, which some of its models may have."""

    def completing(self, model: str) -> CompletionMethod | None:
        """The method by which `model` continues a prompt; None if it gets the prompt as a message."""
        ...


@runtime_checkable
class Speaks(Protocol):
    """A provider that takes the parameters of its own protocol from callers that speak the same one."""

    def speaks(self, protocol: str) -> bool:
        """Whether this is its protocol, by its name in `NativeParams`."""
        ...


@runtime_checkable
class Counts(Protocol):
    """A provider that may count the tokens of a conversation without an answer."""

    async def count_tokens(self, request: GenerateRequest, model: str) -> int | None:
        """The tokens that `model` would read of the request; None if the provider cannot count them.

        Raises:
            MeshError: the provider failed, or refuses the request.
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


class Methods(Protocol):
    """The methods of a provider beside chat and vectors.

    A stream begins with `started`, which has only the fields that were left out, and ends with `finished`, which has
    the usage if the provider counts it. Closing it stops the work at once.

    Raises:
        InvalidArgument: MODEL_CAPABILITY_MISSING, the provider has no such method; or it does not support a field.
        MeshError: the provider failed; no event follows.
    """

    @property
    def capabilities(self) -> "Collection[Model.Capability.ValueType]":
        """The capabilities of models that it has a method for."""
        ...

    def transcribe(self, request: TranscribeRequest, model: str) -> AsyncGenerator[TranscribeResponse, None]:
        """Write down what is said."""
        ...

    async def translate(self, request: TranslateRequest, model: str) -> tuple[TranscriptionFinished, Sequence[str]]:
        """Write down in English what is said; with the fields that were left out."""
        ...

    def speak(self, request: SpeakRequest, model: str) -> AsyncGenerator[SpeakResponse, None]:
        """Speak a text."""
        ...

    def draw(
        self, request: GenerateImageRequest | EditImageRequest, model: str
    ) -> AsyncGenerator[GenerateImageResponse, None]:
        """Make pictures, or change them."""
        ...

    async def moderate(self, request: ModerateRequest, model: str) -> ModerateResponse:
        """Judge texts and pictures."""
        ...

    async def rerank(self, request: RerankRequest, model: str) -> RerankResponse:
        """Sort documents, the best first."""
        ...


@runtime_checkable
class HasMethods(Protocol):
    """A provider with such methods."""

    @property
    def methods(self) -> Methods:
        """Its methods."""
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
