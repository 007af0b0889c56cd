"""The paths of OpenAI's API that are served here, and their handlers."""

from collections.abc import Sequence

from gateway.edge.body import read_body
from gateway.edge.multipart import Limits, is_form, read_form
from gateway.edge.openai.chat_request import read_chat_request
from gateway.edge.openai.compaction import Compaction
from gateway.edge.openai.embeddings import Embeddings
from gateway.edge.openai.images import Images
from gateway.edge.openai.input_items import InputItems
from gateway.edge.openai.input_tokens import InputTokens
from gateway.edge.openai.models import Models
from gateway.edge.openai.moderations import Moderations
from gateway.edge.openai.rerank import Rerank
from gateway.edge.openai.responses import Responses
from gateway.edge.openai.speech import Speech
from gateway.edge.openai.text_completion_request import read_text_completion_request
from gateway.edge.openai.transcriptions import Transcriptions
from gateway.edge.openai.turns import Turns
from gateway.edge.repetition import request_id
from gateway.edge.routes import Exchange, Route

# OpenAI's limits of a sound and of a picture.
SOUND = Limits(file_bytes=25 * 1024 * 1024)
PICTURE = Limits(file_bytes=50 * 1024 * 1024)


class Api:
    """OpenAI's API over the mesh; a body without files has at most `body_limit_bytes`."""

    def __init__(
        self,
        turns: Turns,
        responses: Responses,
        compaction: Compaction,
        input_tokens: InputTokens,
        input_items: InputItems,
        embeddings: Embeddings,
        models: Models,
        moderations: Moderations,
        rerank: Rerank,
        transcriptions: Transcriptions,
        speech: Speech,
        images: Images,
        body_limit_bytes: int,
    ) -> None:
        self._turns = turns
        self._responses = responses
        self._compaction = compaction
        self._input_tokens = input_tokens
        self._input_items = input_items
        self._embeddings = embeddings
        self._models = models
        self._moderations = moderations
        self._rerank = rerank
        self._transcriptions = transcriptions
        self._speech = speech
        self._images = images
        self._limit = body_limit_bytes

    @property
    def routes(self) -> Sequence[Route]:
        """The routes: one for each path and method."""
        return (
            Route("POST", "/v1/chat/completions", self._chat),
            Route("POST", "/v1/completions", self._complete),
            Route("POST", "/v1/responses", self._respond),
            Route("POST", "/v1/responses/compact", self._compact_response),
            Route("POST", "/v1/responses/input_tokens", self._count_input_tokens),
            Route("GET", "/v1/responses/{response_id}", self._retrieve_response),
            Route("DELETE", "/v1/responses/{response_id}", self._delete_response),
            Route("POST", "/v1/responses/{response_id}/cancel", self._cancel_response),
            Route("GET", "/v1/responses/{response_id}/input_items", self._list_input_items),
            Route("POST", "/v1/embeddings", self._embed),
            Route("POST", "/v1/moderations", self._moderate),
            Route("POST", "/v1/rerank", self._sort),
            # Cohere's own path, for its clients.
            Route("POST", "/v2/rerank", self._sort),
            Route("POST", "/v1/audio/transcriptions", self._transcribe),
            Route("POST", "/v1/audio/translations", self._translate),
            Route("POST", "/v1/audio/speech", self._speak),
            Route("POST", "/v1/images/generations", self._generate_images),
            Route("POST", "/v1/images/edits", self._edit_images),
            Route("GET", "/v1/models", self._list_models),
            Route("GET", "/v1/models/{model}", self._retrieve_model, slashes=True),
        )

    async def _chat(self, exchange: Exchange) -> None:
        # No name keeps the body: one with pictures is large, and the answer may take minutes.
        ask = read_chat_request(await self._body(exchange))
        await self._turns.answer(ask, _attempt(exchange), exchange.departure, exchange.reply)

    async def _complete(self, exchange: Exchange) -> None:
        ask = read_text_completion_request(await self._body(exchange))
        await self._turns.answer(ask, _attempt(exchange), exchange.departure, exchange.reply)

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

    async def _moderate(self, exchange: Exchange) -> None:
        await self._moderations.answer(await self._body(exchange), exchange.reply)

    async def _sort(self, exchange: Exchange) -> None:
        await self._rerank.answer(await self._body(exchange), exchange.reply)

    async def _transcribe(self, exchange: Exchange) -> None:
        form = await read_form(exchange.receive, exchange.headers, SOUND)
        await self._transcriptions.transcribe(form, exchange.departure, exchange.reply)

    async def _translate(self, exchange: Exchange) -> None:
        form = await read_form(exchange.receive, exchange.headers, SOUND)
        await self._transcriptions.translate(form, exchange.departure, exchange.reply)

    async def _speak(self, exchange: Exchange) -> None:
        await self._speech.answer(await self._body(exchange), exchange.departure, exchange.reply)

    async def _generate_images(self, exchange: Exchange) -> None:
        await self._images.generate(await self._body(exchange), exchange.departure, exchange.reply)

    async def _edit_images(self, exchange: Exchange) -> None:
        if is_form(exchange.headers):
            form = await read_form(exchange.receive, exchange.headers, PICTURE)
            await self._images.edit(form, exchange.departure, exchange.reply)
        else:
            await self._images.edit(await self._body(exchange), exchange.departure, exchange.reply)

    async def _list_models(self, exchange: Exchange) -> None:
        await self._models.list_models(exchange.reply)

    async def _retrieve_model(self, exchange: Exchange) -> None:
        await self._models.retrieve(exchange.name, exchange.reply)

    async def _body(self, exchange: Exchange) -> bytes | bytearray:
        return await read_body(exchange.receive, exchange.headers, self._limit)


def _attempt(exchange: Exchange) -> str:
    return request_id(exchange.headers.raw(b"idempotency-key"))
