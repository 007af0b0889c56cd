"""Has a vendor sort texts by how well they fit a question (https://docs.cohere.com/reference/rerank, and its kin)."""

from typing import Any

from soma.model.v1.message_pb2 import Usage
from soma.model.v1.model_service_pb2 import RerankRequest, RerankResponse, RerankResult

from services.model.adapters import refusal
from services.model.adapters.counts import count, member, usage_of
from services.model.adapters.specialists.request import Member, asked
from services.model.adapters.upstream import Upstream
from services.model.methods import Rerank

# `return_documents` would only send the texts back, and `raw_scores` are other numbers than scores.
_OWN = frozenset({"query", "documents", "texts", "top_n", "top_k", "return_documents"})
_ODD = (AttributeError, KeyError, TypeError, ValueError)


async def reranked(upstream: Upstream, method: Rerank, path: str, request: RerankRequest, model: str) -> RerankResponse:
    """The order of the documents, the best first.

    Raises:
        MeshError: the vendor failed, or its answer is no order of the documents.
    """
    fixed = {"model": model, "query": request.query, method.documents: list(request.documents)}
    members = []
    if request.HasField("top_n") and method.top:
        members.append(Member(method.top, min(request.top_n, len(request.documents)), "top_n"))
    made = asked(upstream.name, method, path, fixed, members, request.provider_params, own=_OWN - fixed.keys())
    answer = await upstream.post(path, made.body)
    try:
        results = [_result(each, len(request.documents)) for each in _entries(answer)]
    except _ODD as error:
        raise refusal.protocol_error(upstream.name, "its answer is no order of the documents") from error
    if len({each.index for each in results}) != len(results) or not results:
        raise refusal.protocol_error(upstream.name, "its answer is no order of the documents")
    # Not every server sorts them.
    results.sort(key=lambda each: -each.relevance_score)
    if request.HasField("top_n"):
        results = results[: request.top_n]
    return RerankResponse(results=results, usage=_usage(answer))


def _entries(answer: Any) -> list[Any]:
    """The results: under `results` (Cohere), under `data` (Voyage), or the whole answer (SGLang)."""
    if isinstance(answer, list):
        return answer
    found = answer["results"] if "results" in answer else answer["data"]
    if not isinstance(found, list):
        raise TypeError("no list")
    return found


def _result(given: Any, documents: int) -> RerankResult:
    index = given["index"]
    score = given["relevance_score"] if "relevance_score" in given else given["score"]
    if isinstance(index, bool) or not 0 <= index < documents:
        raise ValueError("no such document")
    return RerankResult(index=index, relevance_score=score)


def _usage(answer: Any) -> Usage:
    usage = member(answer, "usage")
    read = count(member(usage, "prompt_tokens")) or count(member(usage, "total_tokens"))
    billed = member(member(answer, "meta"), "billed_units")
    found = usage_of(read or count(member(billed, "input_tokens")), 0)
    found.search_units = count(member(billed, "search_units"))
    return found
