"""Remembers facts, retrieves, lists and forgets them."""

import time
from collections.abc import Sequence

import structlog
from soma.memory.v1 import memory_service_pb2 as pb

from services.memory.embedder import DIMENSIONS, Embedder, Vector
from services.memory.indexing import Indexer
from services.memory.passages import Json, Passage
from services.memory.question import Found
from services.memory.search import Search
from services.memory.store.facts import FactStore
from services.mesh.call import errors, page_token
from services.mesh.call.timestamp import timestamp

log = structlog.get_logger("memory")

TOP_K = 5
THRESHOLD = 0.7
# If the caller gives no threshold, a result of a search by words needs half of the query's words.
WORDS_THRESHOLD = 0.5
PAGE_SIZE = 50
# A response is smaller than the largest message, however large its values are: the best results stay in it.
_MAX_RESPONSE_BYTES = 3 * 1024 * 1024


class Facts:
    """Facts of tenants, stored with the vectors of their passages."""

    def __init__(self, store: FactStore, embedder: Embedder, search: Search, indexer: Indexer) -> None:
        self._store = store
        self._embedder = embedder
        self._search = search
        self._indexer = indexer

    async def remember(
        self, tenant_id: str, request: pb.RememberRequest, passages: Sequence[Passage], facets: Json
    ) -> pb.RememberResponse:
        """Store a fact; while the model service gives no vectors, it is found by words, and gets its vectors later."""
        vectors = await self._vectors(tenant_id, passages)
        stored = await self._store.put(tenant_id, request, facets, passages, vectors)
        if vectors is None:
            self._indexer.wake()
        return pb.RememberResponse(
            key=request.key,
            status="stored",
            vector_id=f"vec_{stored.fact_id.hex}",
            embedding_dimensions=DIMENSIONS,
            indexed_at=timestamp(stored.indexed_at),
        )

    async def forget(self, tenant_id: str, key: str) -> pb.ForgetResponse:
        """Delete a fact; no search finds it any more."""
        return pb.ForgetResponse(key=key, deleted=await self._store.forget(tenant_id, key))

    async def page(self, tenant_id: str, request: pb.ListMemoriesRequest) -> pb.ListMemoriesResponse:
        """A page of facts, by their keys.

        Raises:
            InvalidArgument: the page token was not made for this list.
        """
        place = page_token.read(request, str)
        after = place[0] if place else ""
        facets: dict[str, Json] = {"category": request.category} if request.category else {}
        if request.tags:
            facets["tags"] = list(request.tags)
        limit = request.page_size or PAGE_SIZE
        memories, more = await self._store.page(tenant_id, after, request.prefix, facets, limit, _MAX_RESPONSE_BYTES)
        token = page_token.write(request, memories[-1].key) if more else ""
        return pb.ListMemoriesResponse(memories=memories, next_page_token=token)

    async def _vectors(self, tenant_id: str, passages: Sequence[Passage]) -> list[Vector] | None:
        try:
            return await self._embedder.embed(tenant_id, [passage.whole for passage in passages])
        except errors.MeshError as error:
            log.warning("fact waits for its vectors", reason=error.reason, error=error.message)
            return None

    async def retrieve(self, tenant_id: str, request: pb.RetrieveRequest, facets: Json) -> pb.RetrieveResponse:
        """Search facts, and quote the sentence that answers best."""
        began = time.perf_counter()
        question = await self._search.question(tenant_id, request.query)
        default = WORDS_THRESHOLD if question.degraded else THRESHOLD
        least = request.score_threshold if request.HasField("score_threshold") else default
        limit = request.top_k if request.HasField("top_k") else TOP_K
        found = await self._search.facts(tenant_id, question, least, limit, facets)
        response = pb.RetrieveResponse(query=request.query, degraded=question.degraded)
        found = await self._fill(tenant_id, request, found, response)
        response.total_results = len(found)
        response.sources.extend(fact.source for fact in found)
        response.answer = await self._search.answer(tenant_id, question, found)
        response.latency_ms = 1e3 * (time.perf_counter() - began)
        return response

    async def _fill(
        self, tenant_id: str, request: pb.RetrieveRequest, found: Sequence[Found], response: pb.RetrieveResponse
    ) -> list[Found]:
        """Put the facts into the response that fit and were not deleted meanwhile; returns them."""
        kept: list[Found] = []
        stored = await self._store.read(tenant_id, [fact.source for fact in found]) if found else {}
        for fact in found:
            if fact.source not in stored:
                continue
            value, metadata = stored[fact.source]
            if kept and response.ByteSize() + value.ByteSize() + metadata.ByteSize() > _MAX_RESPONSE_BYTES:
                break
            kept.append(fact)
            result = response.results.add(key=fact.source, value=value, score=fact.score, rank=len(kept))
            if request.include_metadata or not request.HasField("include_metadata"):
                result.metadata.CopyFrom(metadata)
        return kept
