"""The provider `llm`: models of GGUF files, which the part `llm` of the stack runs when they are asked for."""

import asyncio
import re
from collections.abc import AsyncGenerator, Collection, Sequence
from urllib.parse import unquote, urlsplit

from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.mesh.call.errors import FailedPrecondition
from services.model.llm.engine import EngineSettings
from services.model.llm.files import Files, ModelFile
from services.model.llm.gguf import NotGguf
from services.model.llm.memory import context_of
from services.model.provider import Provider, ProviderEvent

NAME = "llm"
_OWNER = re.compile(r"[^a-z0-9]+")


class LlmProvider:
    """A Provider that lists the files itself, because a question for its list would start the part.

    Args:
        server: the adapter of the part's server.
    """

    name = NAME

    def __init__(self, files: Files, settings: EngineSettings, server: Provider) -> None:
        self._files = files
        self._settings = settings
        self._server = server

    @property
    def lacks(self) -> Collection[str]:
        return self._server.lacks

    @property
    def takes(self) -> Collection[str] | None:
        return self._server.takes

    async def models(self) -> Sequence[Model]:
        """A model for each file; one that cannot be used says why."""
        return await asyncio.to_thread(lambda: [self._model(file) for file in self._files.all()])

    def described(self, name: str) -> Model:
        """A model by its name alone."""
        return Model(name=name, provider=NAME)

    async def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream the part's answer.

        Raises:
            FailedPrecondition: the file cannot be used, or needs more memory than is free.
            MeshError: the part failed.
        """
        file = self._files.find(model)
        if file is not None:
            try:
                file.facts()
            except (NotGguf, OSError) as error:
                raise FailedPrecondition(
                    _unusable(file, error), reason=reasons.MODEL_FILE_INVALID, metadata={"provider": NAME}
                ) from error
        events = self._server.generate(request, model)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    def _model(self, file: ModelFile) -> Model:
        model = Model(
            name=file.name,
            provider=NAME,
            capabilities=[Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS],
            input_modalities=[Model.MODALITY_TEXT],
            available=True,
        )
        try:
            facts = file.facts()
        except (NotGguf, OSError) as error:
            model.available, model.unavailable_reason = False, _unusable(file, error)
            return model
        model.context_window = context_of(facts, self._settings.context)
        model.owned_by = _OWNER.sub("-", facts.organization.lower()).strip("-")
        return model


def address(url: str) -> tuple[str, str]:
    """The base URL of the part's server, and its key, from the part's URL."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/')}/v1", unquote(parts.password or "")


def _unusable(file: ModelFile, error: Exception) -> str:
    return f"the file {file.path.name} of `{file.name}` cannot be used: {error}"
