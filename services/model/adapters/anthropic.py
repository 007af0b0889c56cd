"""Anthropic's Messages API (https://platform.claude.com/docs/en/build-with-claude/streaming)."""

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.model.adapters.anthropic_answer import MessageAnswer
from services.model.adapters.anthropic_request import messages_body
from services.model.adapters.exchange import answered
from services.model.adapters.listing import made_at, models_of
from services.model.adapters.upstream import Upstream
from services.model.provider import ProviderEvent


class Anthropic:
    """A Provider that uses the Messages API."""

    lacks = frozenset(
        {
            "repetition_penalty",
            "frequency_penalty",
            "presence_penalty",
            "seed",
            "logprobs",
            "json_object",
            "reasoning_effort",
        }
    )

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    @property
    def name(self) -> str:
        return self._upstream.name

    async def models(self) -> Sequence[Model]:
        """The models of `GET /v1/models`: first the newest small model, then the others, newest first."""
        models = models_of(self.name, await self._upstream.get("/v1/models?limit=1000"), self._model)
        # The first model may become the default, so it should not be an expensive one.
        modest = next((model for model in models if "haiku" in model.name), None)
        return sorted(models, key=lambda model: model is not modest)

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream a message."""
        return answered(self._upstream, partial(self._question, request, model), MessageAnswer(self.name))

    async def _question(self, request: GenerateRequest, model: str) -> tuple[str, dict[str, Any]]:
        return "/v1/messages", messages_body(request, model)

    def _model(self, name: str, entry: dict[str, Any]) -> Model:
        return Model(
            name=name,
            provider=self.name,
            capabilities=[Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS],
            available=True,
            owned_by="anthropic",
            create_time=made_at(entry.get("created_at")),
        )
