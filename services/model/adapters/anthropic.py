"""Anthropic's Messages API (https://platform.claude.com/docs/en/build-with-claude/streaming)."""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished

from services.mesh.call.call import principal
from services.mesh.call.errors import Internal
from services.messages.message import media_of
from services.model.adapters.anthropic_answer import MessageAnswer
from services.model.adapters.anthropic_messages import continue_turn
from services.model.adapters.anthropic_request import COUNTED, betas_of, messages_body, runs_on_server
from services.model.adapters.anthropic_thinking import Abilities, abilities_of, excluded
from services.model.adapters.counting import counted
from services.model.adapters.counts import member
from services.model.adapters.entry import default_first, model_of
from services.model.adapters.exchange import Question, answered
from services.model.adapters.listing import models_of
from services.model.adapters.upstream import Upstream
from services.model.media.reader import MediaReader
from services.model.provider import ProviderEvent
from services.model.vendor import Vendor

# How often a turn that pauses is continued. Each time, the servers' tools may have run ten times.
_MOST_PAUSES = 10


class Anthropic:
    """A Provider that uses the Messages API."""

    def __init__(self, upstream: Upstream, vendor: Vendor, media: MediaReader | None = None) -> None:
        self._upstream = upstream
        self._vendor = vendor
        self._media = media
        self._abilities: dict[str, Abilities] = {}

    @property
    def name(self) -> str:
        return self._upstream.name

    def speaks(self, protocol: str) -> bool:
        """Whether this is the Messages API."""
        return protocol == "anthropic"

    @property
    def lacks(self) -> frozenset[str]:
        return self._vendor.chat.lacks

    @property
    def takes(self) -> frozenset[str] | None:
        return self._vendor.chat.takes

    def excluded(self, request: GenerateRequest, model: str) -> Collection[str]:
        """The parameters that the model lacks, or that do not go with the others of the request."""
        return excluded(request.options, self._able(model))

    async def models(self) -> Sequence[Model]:
        """The models of `GET /v1/models`, newest first. A model that may become the default comes before all others."""
        listing = await self._upstream.get(self._vendor.models.path)
        return default_first(models_of(self.name, listing, self._model), self._vendor)

    def described(self, name: str) -> Model:
        """The facts about a model that its name alone gives."""
        return model_of(self._vendor, self.name, name, {})

    def generate(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream a message."""
        if runs_on_server(request.options):
            return self._continued(request, model)
        return answered(self._upstream, partial(self._question, request, model), MessageAnswer(self.name))

    async def _continued(self, request: GenerateRequest, model: str) -> AsyncGenerator[ProviderEvent, None]:
        """Stream an answer in which tools may run on Anthropic's servers.

        After some runs the model pauses its turn. What it said is then sent back, and it continues.
        """
        question = await self._question(request, model)
        answer = MessageAnswer(self.name, keeps=True)
        for pauses_left in reversed(range(_MOST_PAUSES + 1)):
            goes_on = False
            async with aclosing(answered(self._upstream, partial(_given, question), answer)) as events:
                async for event in events:
                    goes_on = isinstance(event, GenerationFinished) and answer.paused and pauses_left > 0
                    if not goes_on:
                        yield event
            if not goes_on:
                return
            path, body, headers = question
            question = path, {**body, "messages": continue_turn(body["messages"], answer.resume())}, headers

    async def count_tokens(self, request: GenerateRequest, model: str) -> int | None:
        """The tokens of a message; None if the server does not count them.

        Raises:
            MeshError: the server failed, or refuses the request.
        """
        counting = self._vendor.counting
        if counting is None:
            return None
        _, body, headers = await self._question(request, model)
        read = {name: value for name, value in body.items() if name in COUNTED}
        return await counted(self._upstream, counting.path, read, headers)

    async def _question(self, request: GenerateRequest, model: str) -> Question:
        contents = None
        if any(media_of(request.messages)):
            if self._media is None:
                raise Internal("this provider was made without a reader of media")
            contents = await self._media.contents(
                request.messages, reads_urls=self._vendor.chat.reads_urls, tenant_id=principal().tenant_id
            )
        body = messages_body(request, model, self.name, contents, self._able(model))
        betas = betas_of(request, body)
        return self._vendor.chat.path, body, {"anthropic-beta": ",".join(betas)} if betas else {}

    def _able(self, model: str) -> Abilities:
        known = self._abilities.get(model)
        return known if known is not None else abilities_of(model, {})

    def _model(self, name: str, entry: dict[str, Any]) -> Model:
        self._abilities[name] = abilities_of(name, entry)
        return model_of(self._vendor, self.name, name, _plain(entry))


async def _given(question: Question) -> Question:
    return question


def _plain(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of the list whose capabilities are in the words of `services.model.adapters.entry`."""
    said = entry.get("capabilities")
    if not isinstance(said, dict):
        return dict(entry)
    has = {name: member(said.get(name), "supported") for name in ("image_input", "pdf_input", "thinking")}
    read = ["text", *(word for name, word in (("image_input", "image"), ("pdf_input", "file")) if has[name] is True)]
    plain: dict[str, Any] = {**entry, "capabilities": {"reasoning": has["thinking"]}}
    if isinstance(has["image_input"], bool):
        plain["architecture"] = {"input_modalities": read}
    return plain
