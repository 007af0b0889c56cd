"""Anthropic's Messages API (https://platform.claude.com/docs/en/build-with-claude/streaming)."""

from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.model_service_pb2 import GenerateRequest

from services.model.adapters.anthropic_answer import MessageAnswer
from services.model.adapters.anthropic_request import messages_body
from services.model.adapters.entry import default_first, model_of
from services.model.adapters.exchange import answered
from services.model.adapters.listing import models_of
from services.model.adapters.upstream import Upstream
from services.model.provider import ProviderEvent
from services.model.vendor import Vendor


class Anthropic:
    """A Provider that uses the Messages API."""

    def __init__(self, upstream: Upstream, vendor: Vendor) -> None:
        self._upstream = upstream
        self._vendor = vendor

    @property
    def name(self) -> str:
        return self._upstream.name

    @property
    def lacks(self) -> frozenset[str]:
        return self._vendor.chat.lacks

    @property
    def takes(self) -> frozenset[str] | None:
        return self._vendor.chat.takes

    async def models(self) -> Sequence[Model]:
        """The models of `GET /v1/models`, newest first. A model that may become the default comes before all others."""
        listing = await self._upstream.get(self._vendor.models.path)
        return default_first(models_of(self.name, listing, self._model), self._vendor)

    def described(self, name: str) -> Model:
        """The facts about a model that its name alone gives."""
        return self._model(name, {})

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream a message."""
        return answered(self._upstream, partial(self._question, request, model), MessageAnswer(self.name))

    async def _question(self, request: GenerateRequest, model: str) -> tuple[str, dict[str, Any]]:
        return self._vendor.chat.path, messages_body(request, model)

    def _model(self, name: str, entry: dict[str, Any]) -> Model:
        return model_of(self._vendor, self.name, name, entry)
