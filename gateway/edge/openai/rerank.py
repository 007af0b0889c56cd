"""`POST /v1/rerank`: texts in the order of how well they fit a question, from ModelService.Rerank.

OpenAI has no such method. The request and the answer have the forms of Cohere's, Jina's and vLLM's.
"""

from typing import TYPE_CHECKING, Annotated, Any

import orjson
from pydantic import ConfigDict, Field, with_config
from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import RerankRequest
from typing_extensions import TypedDict

from gateway.edge.openai.words import BODY, missing
from gateway.edge.provider_params import sent
from gateway.edge.reply import Reply
from gateway.edge.request_model import Reader, TextOr, must, open_ended

if TYPE_CHECKING:
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub

_Text = Annotated[
    str,
    Field(max_length=131_072),
    must(bool, reasons.INVALID_VALUE, "Invalid '{param}': it cannot be an empty string."),
]
_not_empty = must(bool, reasons.EMPTY_ARRAY, "Invalid '{param}': it cannot be an empty array.")


@with_config(ConfigDict(strict=True, extra="ignore"))
class DocumentObject(TypedDict):
    """A document as an object; its other members are the client's own."""

    text: str


@open_ended
class RerankBody(TypedDict, total=False):
    """The parameters that are read. Others reach the provider as they are."""

    model: str | None
    query: _Text | None
    documents: Annotated[list[TextOr[str, DocumentObject]], Field(max_length=10_000), _not_empty] | None
    top_n: Annotated[int, Field(ge=1, le=2**31 - 1)] | None
    return_documents: bool | None


READER = Reader(RerankBody, BODY)
KNOWN = frozenset(RerankBody.__annotations__)


class Rerank:
    """Answers requests for an order from a ModelService."""

    def __init__(self, models: "ModelServiceAsyncStub", timeout: float) -> None:
        self._models = models
        self._timeout = timeout

    async def answer(self, body: bytes | bytearray, reply: Reply) -> None:
        """Answer one request.

        Raises:
            InvalidArgument: a parameter is not valid; the error names it.
            MeshError: the model service failed.
        """
        ask = READER.json(body)
        query, documents = ask.get("query"), ask.get("documents")
        if query is None:
            missing("query")
        if documents is None:
            missing("documents")
        texts = [each if isinstance(each, str) else each["text"] for each in documents]
        request = RerankRequest(
            model=ask.get("model") or "",
            query=query,
            documents=texts,
            top_n=ask.get("top_n"),
            provider_params=sent(ask, ask.keys() - KNOWN),
        )
        response = await self._models.Rerank(request, timeout=self._timeout)
        results: list[dict[str, Any]] = [
            {"index": each.index, "relevance_score": each.relevance_score} for each in response.results
        ]
        if ask.get("return_documents"):
            for result in results:
                result["document"] = {"text": texts[result["index"]]}
        usage = response.usage
        billed = {"search_units": usage.search_units} if usage.search_units else {"input_tokens": usage.total_tokens}
        answer = {
            "id": response.generation_id,
            "object": "list",
            "model": response.model,
            "results": results,
            "usage": {"prompt_tokens": usage.prompt_tokens, "total_tokens": usage.total_tokens},
            "meta": {"api_version": {"version": "2"}, "billed_units": billed},
        }
        await reply.json(200, orjson.dumps(answer))
