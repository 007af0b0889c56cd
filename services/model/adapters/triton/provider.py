"""The provider `triton`: the models of a Triton server."""

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import Model, RepositoryModel
from soma.model.v1.model_service_pb2 import EmbedRequest, EmbedResponse, GenerateRequest
from soma.model.v1.options_pb2 import URGENCY_BACKGROUND, Urgency

from services.mesh.call.errors import FieldViolation, InvalidArgument, MeshError, NotFound
from services.model.adapters.exchange import Question, answered
from services.model.adapters.openai_answer import ChatAnswer
from services.model.adapters.openai_request import chat_body
from services.model.adapters.triton.discovery import Kind, Served, served
from services.model.adapters.triton.reranking import Reranking
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import NAME, TritonSettings
from services.model.adapters.upstream import Patience
from services.model.json_text import parse_object
from services.model.provider import ProviderEvent
from services.model.vendor import Chat

_CAPABILITIES: "dict[Kind, tuple[Model.Capability.ValueType, ...]]" = {
    "embedding": (Model.CAPABILITY_EMBEDDING,),
    "chat": (Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS),
    # And chat, with a template.
    "prompt": (Model.CAPABILITY_COMPLETION,),
    "rerank": (Model.CAPABILITY_RERANK,),
}


@dataclass(frozen=True)
class _Continuing:
    """What a model lacks when it continues a prompt."""

    unsupported: Collection[str]
    takes: Collection[str] | None = None


class TritonProvider:
    """A Provider, `Embeds`, `Excludes`, `Completes` and `HasMethods`.

    Args:
        chat: the dialect of its chat models, which is llama.cpp's.
        own: name of the mesh's own embedding model. It is asked for without a provider, so it is not listed again.
    """

    name = NAME
    takes: Collection[str] | None = None

    def __init__(self, server: Server, chat: Chat, patience: Patience, settings: TritonSettings, own: str) -> None:
        self._server = server
        self._chat = chat
        self._patience = patience
        self._seconds = settings.answer_timeout
        self._own = own
        self._served: dict[str, Served] = {}
        self.methods = Reranking(server, self._known, settings.answer_timeout)

    @property
    def lacks(self) -> Collection[str]:
        return self._chat.unsupported

    async def models(self) -> Sequence[Model]:
        """The loaded models.

        Raises:
            MeshError: the server does not answer.
        """
        found = await served(self._server)
        self._served = {each.public: each for each in found if each.public != self._own}
        return [self._model(each) for each in self._served.values()]

    def described(self, name: str) -> Model:
        """Nothing is known about a model from its name alone."""
        return Model(name=name, provider=self.name)

    def excluded(self, request: GenerateRequest, model: str) -> Collection[str]:
        """What a model lacks that continues prompts."""
        known = self._served.get(model)
        return known.prompting.excluded if known is not None and known.prompting is not None else ()

    def completing(self, model: str) -> _Continuing | None:
        """How the model continues a prompt; None if it gets the prompt as a message."""
        lacked = self.excluded(GenerateRequest(), model)
        return _Continuing(lacked) if lacked else None

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream a chat completion, or the continuation of a prompt."""
        # Imported here, because Triton's client takes 0.2 s, also in a process that has no Triton.
        from services.model.adapters.triton.prompts import prompted
        from services.model.adapters.triton.stream import Stream

        known = self._served.get(model)
        if known is not None and known.prompting is not None:
            return prompted(self._server, self._patience, self._chat, known, request)
        answer = ChatAnswer(self.name, request.options.sampling.stop_sequences)
        priority = known.background if known is not None and _in_background(request.options.urgency) else 0
        stream = Stream(self._server, self._patience, priority)
        return answered(stream, partial(self._question, request, model), answer)

    async def embed(self, request: EmbedRequest, model: str) -> EmbedResponse:
        """The vectors of texts.

        Raises:
            InvalidArgument: the request has token numbers, or a number of dimensions.
            MeshError: the server or the model failed.
        """
        from services.model.adapters.triton.vectors import vectors

        for field, given in (("tokens", bool(request.tokens)), ("dimensions", request.HasField("dimensions"))):
            if given:
                why = f"models of {self.name} take texts only, and make vectors of one length"
                raise InvalidArgument(
                    why, reason=reasons.PARAMETER_NOT_SUPPORTED, violations=[FieldViolation(field, why)]
                )
        known = self._known(model)
        priority = known.background if _in_background(request.urgency) else 0
        found = await vectors(self._server, known.name, request.input, known.batch, self._seconds, priority)
        made = found.vectors
        if request.HasField("normalize") and not request.normalize:
            made = made * found.norms[:, None]
        response = EmbedResponse(model=model, vector_length=made.shape[1])
        windows = [1] * len(made) if found.windows is None else found.windows.tolist()
        for index, vector in enumerate(made.tolist()):
            response.vectors.add(embedding=vector, index=index, windows=windows[index])
        response.usage.total_tokens = int(found.tokens.sum())
        return response

    async def repository(self) -> Sequence[RepositoryModel]:
        """The models of the server's repository, by name."""
        public = {each.name: each.public for each in await served(self._server)}
        return [
            RepositoryModel(name=each.name, model=public.get(each.name, ""), loaded=each.ready, reason=each.reason)
            for each in sorted(await self._server.models(), key=lambda each: each.name)
        ]

    async def load(self, name: str, configuration: str) -> None:
        """Load a model.

        Raises:
            FailedPrecondition: reason MODEL_LOAD_FAILED.
            InvalidArgument: the configuration is no JSON object.
        """
        if configuration:
            parse_object(configuration, "configuration")
        await self._server.load(name, configuration)

    async def unload(self, name: str) -> None:
        """Unload a model."""
        if name not in {each.name for each in await self._server.models()}:
            # Triton takes the order for any name.
            raise _unknown(name)
        await self._server.unload(name)

    async def _question(self, request: GenerateRequest, model: str) -> Question:
        body = chat_body(request, model, self._chat, self.name)
        if _in_background(request.options.urgency):
            # OpenAI's word for it, for models that order their requests themselves, as `triton_models/slm` does.
            body.setdefault("service_tier", "flex")
        return self._known(model).name, body, {}

    def _known(self, public: str) -> Served:
        found = self._served.get(public)
        if found is None:
            raise _unknown(public)
        return found

    def _model(self, each: Served) -> Model:
        chats = each.prompting is not None and bool(each.prompting.template)
        return Model(
            name=each.public,
            provider=self.name,
            capabilities=(*((Model.CAPABILITY_CHAT,) if chats else ()), *_CAPABILITIES[each.kind]),
            available=True,
            input_modalities=[Model.MODALITY_TEXT],
            context_window=each.context,
        )


def _in_background(urgency: "Urgency.ValueType") -> bool:
    return urgency == URGENCY_BACKGROUND


def _unknown(model: str) -> MeshError:
    return NotFound(f"triton has no model `{model}` now", reason=reasons.MODEL_NOT_FOUND, metadata={"model": model})
