"""The adapter of all servers with OpenAI's chat completions. A vendor's file has the differences from OpenAI."""

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.model_service_pb2 import EmbedRequest, EmbedResponse, GenerateRequest

from services.mesh.call.call import principal
from services.mesh.call.errors import Internal, InvalidArgument, MeshError
from services.messages.message import media_of
from services.model.adapters import refusal
from services.model.adapters.counting import counted_text
from services.model.adapters.entry import default_first, model_of
from services.model.adapters.exchange import Question, answered
from services.model.adapters.listing import models_of
from services.model.adapters.openai_answer import ChatAnswer
from services.model.adapters.openai_completion import CompletionAnswer, completion_body
from services.model.adapters.openai_request import chat_body
from services.model.adapters.specialists.methods import Methods
from services.model.adapters.upstream import Upstream
from services.model.media.reader import MediaReader
from services.model.provider import ProviderEvent
from services.model.vendor import Chat, Completions, Vendor

_log = structlog.get_logger(__name__)

_VERSIONED = re.compile(r"/v\d[^/]*$")
# Base URLs are often given without this path.
_VERSION = "/v1"
_USUAL_PATH = "/chat/completions"
# Reasons of errors that mean that a server has no list of models at a path.
_NO_LIST = frozenset({reasons.MODEL_NOT_FOUND, reasons.PROVIDER_REFUSED_REQUEST, reasons.PROVIDER_PROTOCOL_ERROR})

# Reasons of errors that mean that the server did not answer.
_SILENT = frozenset({reasons.PROVIDER_UNAVAILABLE, reasons.PROVIDER_TIMEOUT})


class OpenAICompatible:
    """A Provider that uses one such server.

    The base URL is used unchanged, unless the server lists its models only under `/v1` after it.

    Args:
        names: the models that are offered if the server cannot list them.

    Attributes:
        methods: its methods beside chat and vectors.
    """

    def __init__(
        self, upstream: Upstream, vendor: Vendor, names: Sequence[str] = (), media: MediaReader | None = None
    ) -> None:
        self._upstream = upstream
        self._media = media
        self._vendor = vendor
        self._names = tuple(names) or vendor.models.named
        self._thoughtless = replace(vendor.chat, thoughts="")
        # The models that think, according to the server's list.
        self._thinkers: set[str] = set()
        self._version = ""
        self.methods = Methods(upstream, vendor, media, self._path)
        # Whether the path of the server's list is known, and whether the server has been asked.
        self._settled = self._asked = bool(_VERSIONED.search(upstream.path)) or _is_known(vendor, upstream.path)

    @property
    def name(self) -> str:
        return self._upstream.name

    @property
    def lacks(self) -> frozenset[str]:
        return self._vendor.chat.unsupported

    @property
    def takes(self) -> frozenset[str] | None:
        return self._vendor.chat.takes

    async def models(self) -> Sequence[Model]:
        """The server's models in its order, except that a model that may become the default comes first."""
        listed = await self._listed() if self._vendor.models.path else []
        if not (self._vendor.models.path and self._vendor.models.complete):
            listed = [self.described(name) for name in self._names]
        return default_first(listed, self._vendor)

    def described(self, name: str) -> Model:
        """The facts about a model that its name alone gives."""
        return model_of(self._vendor, self.name, name, {})

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream a chat completion, or the continuation of a prompt."""
        stops = request.options.sampling.stop_sequences
        if request.options.HasField("completion") and (method := self.completing(model)) is not None:
            continued = CompletionAnswer(self.name, stops)
            return answered(self._upstream, partial(self._prompt, request, model, method), continued)
        return answered(self._upstream, partial(self._question, request, model), ChatAnswer(self.name, stops))

    def completing(self, model: str) -> Completions | None:
        """The method by which the model continues a prompt."""
        method = self._vendor.completions
        return method if method is not None and method.serves(model) else None

    async def embed(self, request: EmbedRequest, model: str) -> EmbedResponse:
        """The vectors of texts.

        Raises:
            InvalidArgument: reason MODEL_CAPABILITY_MISSING; the vendor has no method for vectors.
            MeshError: see `embedded`.
        """
        # Imported here, because numpy needs 30 MB, also in a process that makes no vectors.
        from services.model.adapters.openai_embeddings import embedded

        method = self._vendor.embeddings
        if method is None:
            said = f"{self._vendor.title} has no method for vectors"
            raise InvalidArgument(said, reason=reasons.MODEL_CAPABILITY_MISSING, metadata={"model": model})
        return await embedded(self._upstream, method, await self._path(method.path, model), request, model)

    async def _path(self, path: str, model: str) -> str:
        """The path for a request, from that of the vendor's file."""
        if not self._asked:
            await self._look()
        return path_of(f"{self._version}{path}", model)

    async def count_tokens(self, request: GenerateRequest, model: str) -> int | None:
        """The tokens of a conversation without media; None if the server does not count them.

        Raises:
            MeshError: the server failed, or refuses the request.
        """
        counting = self._vendor.counting
        if counting is None or any(media_of(request.messages)):
            return None
        _, body, _ = await self._question(request, model)
        return await counted_text(self._upstream, counting, body)

    async def _question(self, request: GenerateRequest, model: str) -> Question:
        if not self._asked:
            await self._look()
        chat = self._chat(model)
        contents = None
        if any(media_of(request.messages)):
            if self._media is None:
                raise Internal("this provider was made without a reader of media")
            contents = await self._media.contents(
                request.messages, reads_urls=chat.reads_urls, tenant_id=principal().tenant_id
            )
        body = chat_body(request, model, chat, self.name, contents)
        return path_of(f"{self._version}{chat.path}", model), body, {}

    def _chat(self, model: str) -> Chat:
        """The vendor's form for a model."""
        if not self._vendor.chat.only_thinkers or model in self._thinkers:
            return self._vendor.chat
        facts = self._vendor.facts(model)
        return self._vendor.chat if facts is not None and facts.thinks else self._thoughtless

    async def _prompt(self, request: GenerateRequest, model: str, method: Completions) -> Question:
        if not self._asked:
            await self._look()
        return path_of(f"{self._version}{method.path}", model), completion_body(request, model, method), {}

    async def _look(self) -> None:
        """Find the path for requests. If the server lists no models, or not for this key, the URL is used unchanged."""
        try:
            await self._listed()
        except MeshError as error:
            if error.reason in _SILENT:
                raise
        self._asked = True

    async def _listed(self) -> list[Model]:
        """The models, from the path at which the server lists them; all later requests use this path."""
        try:
            models = await self._list(self._version)
        except MeshError as error:
            if self._settled or error.reason not in _NO_LIST:
                raise
            models = await self._list_versioned()
        self._settled = self._asked = True
        return models

    async def _list_versioned(self) -> list[Model]:
        try:
            models = await self._list(_VERSION)
        except MeshError as error:
            if error.reason not in _NO_LIST:
                raise
            what = f"it lists models neither at /models nor at {_VERSION}/models; {self._upstream.advice.url}"
            raise refusal.protocol_error(self.name, what) from error
        self._version = _VERSION
        _log.info("provider_base_url_completed", provider=self.name, path=_VERSION)
        return models

    async def _list(self, version: str) -> list[Model]:
        listing = await self._upstream.get(f"{version}{self._vendor.models.path}")
        return models_of(self.name, listing, self._model)

    def _model(self, name: str, entry: dict[str, Any]) -> Model:
        model = model_of(self._vendor, self.name, name.removeprefix(self._vendor.models.prefix), entry)
        if Model.CAPABILITY_REASONING in model.capabilities:
            self._thinkers.add(model.name)
        return model


def _is_known(vendor: Vendor, path: str) -> bool:
    """Whether the paths of the vendor's file follow a base URL with this path."""
    usual = vendor.server.url or vendor.chat.path != _USUAL_PATH
    return bool(usual) and path == urlsplit(vendor.server.url).path


def path_of(template: str, model: str) -> str:
    """The path of a method, with the escaped name of the model if the template has `{model}`."""
    return template.replace("{model}", quote(model, safe="")) if "{model}" in template else template
