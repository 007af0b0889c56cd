"""Any server that speaks OpenAI's chat completions: OpenAI, vLLM, llama.cpp, Ollama's `/v1`."""

import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.mesh.call.errors import MeshError
from services.model.adapters import refusal
from services.model.adapters.counts import count
from services.model.adapters.exchange import answered
from services.model.adapters.listing import made_at, models_of
from services.model.adapters.openai_answer import ChatAnswer
from services.model.adapters.openai_request import chat_body
from services.model.adapters.upstream import Upstream
from services.model.provider import ProviderEvent

_log = structlog.get_logger(__name__)

_VERSIONED = re.compile(r"/v\d[^/]*$")
# A base URL is often given without it.
_VERSION = "/v1"
# What a server answers, by reason, that has no list of models at a path.
_NO_LIST = frozenset({reasons.MODEL_NOT_FOUND, reasons.PROVIDER_REFUSED_REQUEST, reasons.PROVIDER_PROTOCOL_ERROR})

# It said nothing at all.
_SILENT = frozenset({reasons.PROVIDER_UNAVAILABLE, reasons.PROVIDER_TIMEOUT})


@dataclass(frozen=True, slots=True)
class Flavour:
    """How servers of this protocol differ.

    Attributes:
        max_tokens_field: what the limit is called: OpenAI's newer models refuse `max_tokens`, others know no other.
        not_for_chat: parts of names of models that hold no conversation; `/v1/models` lists them all alike.
        modest: models listed first, so that what becomes the default unasked is a small one.
        lacks: parameters of the contract the protocol has no word for; what a server adds to it is tried.
    """

    max_tokens_field: str
    not_for_chat: tuple[str, ...]
    modest: tuple[str, ...] = ()
    lacks: frozenset[str] = frozenset()


OPENAI = Flavour(
    max_tokens_field="max_completion_tokens",
    not_for_chat=(
        "embedding",
        "whisper",
        "tts",
        "dall-e",
        "image",
        "moderation",
        "sora",
        "realtime",
        "transcribe",
        "babbage",
        "davinci",
        "turbo-instruct",
    ),
    modest=("gpt-5-mini", "gpt-4.1-mini", "gpt-4o-mini"),
    lacks=frozenset({"top_k", "repetition_penalty"}),
)
COMPATIBLE = Flavour(max_tokens_field="max_tokens", not_for_chat=("embed", "rerank", "whisper"))


class OpenAICompatible:
    """Provider over one such server.

    Its base URL is used as it is given, unless the server lists its models only under `/v1` of it.
    """

    def __init__(self, upstream: Upstream, flavour: Flavour = COMPATIBLE) -> None:
        self._upstream = upstream
        self._flavour = flavour
        self._version = ""
        # Whether it is known where the server lists its models, and whether it was asked at all.
        self._settled = self._asked = _VERSIONED.search(upstream.path) is not None

    @property
    def name(self) -> str:
        return self._upstream.name

    @property
    def lacks(self) -> frozenset[str]:
        return self._flavour.lacks

    async def models(self) -> Sequence[Model]:
        """What `GET /models` lists, in its order but for the flavour's modest ones, which come first."""
        models = await self._listed()
        return sorted(models, key=lambda model: model.name not in self._flavour.modest)

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream a chat completion."""
        return answered(self._upstream, partial(self._question, request, model), ChatAnswer(self.name))

    async def _question(self, request: GenerateRequest, model: str) -> tuple[str, dict[str, Any]]:
        if not self._asked:
            await self._look()
        body = chat_body(request, model, self._flavour.max_tokens_field)
        return f"{self._version}/chat/completions", body

    async def _look(self) -> None:
        """Find out where requests go; to the URL as it is, where the server lists nothing, or not with this key."""
        try:
            await self._listed()
        except MeshError as error:
            if error.reason in _SILENT:
                raise
        self._asked = True

    async def _listed(self) -> list[Model]:
        """The models, from where the server lists them; all requests go there from then on."""
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
        return models_of(self.name, await self._upstream.get(f"{version}/models"), self._model)

    def _model(self, name: str, entry: dict[str, Any]) -> Model:
        chats = not any(part in name.lower() for part in self._flavour.not_for_chat)
        return Model(
            name=name,
            provider=self.name,
            capabilities=[Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS] if chats else [],
            available=True,
            create_time=made_at(entry.get("created")),
            owned_by=str(entry.get("owned_by") or ""),
            # vLLM's name for it.
            context_window=count(entry.get("max_model_len")),
        )
