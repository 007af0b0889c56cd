"""The paths of OpenAI's API that are answered here, and what answers each."""

from collections.abc import Sequence

from gateway.edge.body import read_body
from gateway.edge.openai.catalogue import Catalogue
from gateway.edge.openai.chat import ChatCompletions
from gateway.edge.openai.embeddings import Embeddings
from gateway.edge.openai.input_items import InputItems
from gateway.edge.openai.responses import Responses
from gateway.edge.repetition import request_id
from gateway.edge.routes import Route, Visit


class Api:
    """OpenAI's API over the mesh; a body has at most `body_limit_bytes`."""

    def __init__(
        self,
        chat: ChatCompletions,
        responses: Responses,
        input_items: InputItems,
        embeddings: Embeddings,
        catalogue: Catalogue,
        body_limit_bytes: int,
    ) -> None:
        self._chat = chat
        self._responses = responses
        self._input_items = input_items
        self._embeddings = embeddings
        self._catalogue = catalogue
        self._limit = body_limit_bytes

    @property
    def routes(self) -> Sequence[Route]:
        """Every path it answers, once for each method."""
        return (
            Route("POST", "/v1/chat/completions", self._complete),
            Route("POST", "/v1/responses", self._respond),
            Route("GET", "/v1/responses/{response_id}", self._retrieve_response),
            Route("DELETE", "/v1/responses/{response_id}", self._delete_response),
            Route("POST", "/v1/responses/{response_id}/cancel", self._cancel_response),
            Route("GET", "/v1/responses/{response_id}/input_items", self._list_input_items),
            Route("POST", "/v1/embeddings", self._embed),
            Route("GET", "/v1/models", self._list_models),
            Route("GET", "/v1/models/{model}", self._retrieve_model, slashes=True),
        )

    async def _complete(self, visit: Visit) -> None:
        await self._chat.answer(await self._body(visit), _attempt(visit), visit.receive, visit.reply)

    async def _respond(self, visit: Visit) -> None:
        await self._responses.create(await self._body(visit), _attempt(visit), visit.receive, visit.reply)

    async def _retrieve_response(self, visit: Visit) -> None:
        await self._responses.retrieve(visit.name, visit.query, visit.receive, visit.reply)

    async def _delete_response(self, visit: Visit) -> None:
        await self._responses.delete(visit.name, visit.reply)

    async def _cancel_response(self, visit: Visit) -> None:
        await self._responses.cancel(visit.name, visit.reply)

    async def _list_input_items(self, visit: Visit) -> None:
        await self._input_items.list_items(visit.name, visit.query, visit.reply)

    async def _embed(self, visit: Visit) -> None:
        await self._embeddings.answer(await self._body(visit), visit.reply)

    async def _list_models(self, visit: Visit) -> None:
        await self._catalogue.list_models(visit.reply)

    async def _retrieve_model(self, visit: Visit) -> None:
        await self._catalogue.retrieve(visit.name, visit.reply)

    async def _body(self, visit: Visit) -> bytes | bytearray:
        return await read_body(visit.receive, visit.headers, self._limit)


def _attempt(visit: Visit) -> str:
    return request_id(visit.headers.raw(b"idempotency-key"))
