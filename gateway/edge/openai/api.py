"""The paths of OpenAI's API that are served here, and their handlers."""

from collections.abc import Sequence

from gateway.edge.body import read_body
from gateway.edge.openai.chat import ChatCompletions
from gateway.edge.openai.compaction import Compaction
from gateway.edge.openai.embeddings import Embeddings
from gateway.edge.openai.input_items import InputItems
from gateway.edge.openai.input_tokens import InputTokens
from gateway.edge.openai.models import Models
from gateway.edge.openai.responses import Responses
from gateway.edge.repetition import request_id
from gateway.edge.routes import Exchange, Route


class Api:
    """OpenAI's API over the mesh; a body has at most `body_limit_bytes`."""

    def __init__(
        self,
        chat: ChatCompletions,
        responses: Responses,
        compaction: Compaction,
        input_tokens: InputTokens,
        input_items: InputItems,
        embeddings: Embeddings,
        models: Models,
        body_limit_bytes: int,
    ) -> None:
        self._chat = chat
        self._responses = responses
        self._compaction = compaction
        self._input_tokens = input_tokens
        self._input_items = input_items
        self._embeddings = embeddings
        self._models = models
        self._limit = body_limit_bytes

    @property
    def routes(self) -> Sequence[Route]:
        """The routes: one for each path and method."""
        return (
            Route("POST", "/v1/chat/completions", self._complete),
            Route("POST", "/v1/responses", self._respond),
            Route("POST", "/v1/responses/compact", self._compact_response),
            Route("POST", "/v1/responses/input_tokens", self._count_input_tokens),
            Route("GET", "/v1/responses/{response_id}", self._retrieve_response),
            Route("DELETE", "/v1/responses/{response_id}", self._delete_response),
            Route("POST", "/v1/responses/{response_id}/cancel", self._cancel_response),
            Route("GET", "/v1/responses/{response_id}/input_items", self._list_input_items),
            Route("POST", "/v1/embeddings", self._embed),
            Route("GET", "/v1/models", self._list_models),
            Route("GET", "/v1/models/{model}", self._retrieve_model, slashes=True),
        )

    async def _complete(self, exchange: Exchange) -> None:
        await self._chat.answer(await self._body(exchange), _attempt(exchange), exchange.departure, exchange.reply)

    async def _respond(self, exchange: Exchange) -> None:
        await self._responses.create(await self._body(exchange), _attempt(exchange), exchange.departure, exchange.reply)

    async def _compact_response(self, exchange: Exchange) -> None:
        await self._compaction.answer(await self._body(exchange), exchange.departure, exchange.reply)

    async def _count_input_tokens(self, exchange: Exchange) -> None:
        await self._input_tokens.answer(await self._body(exchange), exchange.reply)

    async def _retrieve_response(self, exchange: Exchange) -> None:
        await self._responses.retrieve(exchange.name, exchange.query, exchange.departure, exchange.reply)

    async def _delete_response(self, exchange: Exchange) -> None:
        await self._responses.delete(exchange.name, exchange.reply)

    async def _cancel_response(self, exchange: Exchange) -> None:
        await self._responses.cancel(exchange.name, exchange.reply)

    async def _list_input_items(self, exchange: Exchange) -> None:
        await self._input_items.list_items(exchange.name, exchange.query, exchange.reply)

    async def _embed(self, exchange: Exchange) -> None:
        await self._embeddings.answer(await self._body(exchange), exchange.reply)

    async def _list_models(self, exchange: Exchange) -> None:
        await self._models.list_models(exchange.reply)

    async def _retrieve_model(self, exchange: Exchange) -> None:
        await self._models.retrieve(exchange.name, exchange.reply)

    async def _body(self, exchange: Exchange) -> bytes | bytearray:
        return await read_body(exchange.receive, exchange.headers, self._limit)


def _attempt(exchange: Exchange) -> str:
    return request_id(exchange.headers.raw(b"idempotency-key"))
