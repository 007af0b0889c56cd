"""Remembered values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from soma.memory.v1 import memory_service_pb2 as memory

from somamesh.calls import Call, Listing, Page, unary
from somamesh.json_values import from_struct, from_value, to_struct, to_value
from somamesh.times import moment


@dataclass(frozen=True, slots=True)
class Memory:
    """A remembered value.

    Attributes:
        value: any JSON value.
        score: how well it fits the query it was found by, 0 to 1; None when read by its key or listed.
        created_at: when it was first stored; None when it was found by a query, as are the two below.
        accessed_count: how often it was read by its key, this time included.
        last_accessed: when it was read before this time.
        expires_at: when it is forgotten; None when it is kept, and where it was not listed.
    """

    key: str
    value: Any
    metadata: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    created_at: datetime | None = None
    accessed_count: int | None = None
    last_accessed: datetime | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """How a value was stored; `indexed_at` is None until it can be found by meaning."""

    key: str
    vector_id: str
    embedding_dimensions: int
    indexed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Memories that fit a query, best first; iterates over them.

    Attributes:
        answer: the sentence of them that answers best, quoted; empty when there is none.
        sources: their keys.
        degraded: they were found by keywords, because vectors could not be had.
    """

    memories: tuple[Memory, ...]
    answer: str
    sources: tuple[str, ...]
    degraded: bool

    def __iter__(self) -> Iterator[Memory]:
        return iter(self.memories)

    def __len__(self) -> int:
        return len(self.memories)

    def __getitem__(self, index: int) -> Memory:
        return self.memories[index]


def remember(
    key: str,
    value: object,
    *,
    metadata: Mapping[str, Any] | None = None,
    ttl_seconds: int | None = None,
    timeout: float | None = None,
) -> Call[Stored]:
    """Store any JSON value under a key; storing again replaces it.

    Args:
        metadata: what `retrieve` may filter by.
        ttl_seconds: after which it is forgotten; None for never.
    """
    request = memory.RememberRequest(key=key, value=to_value(value), ttl_seconds=ttl_seconds)
    if metadata:
        request.metadata.CopyFrom(to_struct(metadata))
    return unary(lambda mesh: mesh.memory.Remember, request, _stored, repeatable=True, timeout=timeout)


def recall(key: str, *, timeout: float | None = None) -> Call[Memory]:
    """Read one key; raises `NotFoundError`."""
    request = memory.RecallRequest(key=key)
    return unary(lambda mesh: mesh.memory.Recall, request, _recalled, repeatable=True, timeout=timeout)


def forget(key: str, *, timeout: float | None = None) -> Call[bool]:
    """Delete what is stored under one key; whether there was anything.

    False where an earlier attempt of the call, whose answer was lost, had deleted it.
    """
    request = memory.ForgetRequest(key=key)
    return unary(lambda mesh: mesh.memory.Forget, request, _deleted, repeatable=True, timeout=timeout)


def list_memories(
    prefix: str = "",
    *,
    category: str = "",
    tags: Sequence[str] = (),
    page_size: int = 0,
    timeout: float | None = None,
) -> Listing[Memory]:
    """What is remembered, in the order of the keys; pages are fetched while iterating. It does not count as reading.

    Args:
        prefix: only keys that begin with it.
        category: only what has it as `category` of its metadata.
        tags: only what has all of them in `tags` of its metadata.
    """

    def page(token: str) -> Call[Page[Memory]]:
        request = memory.ListMemoriesRequest(
            prefix=prefix, category=category, tags=tags, page_size=page_size, page_token=token
        )
        return unary(lambda mesh: mesh.memory.ListMemories, request, _page, repeatable=True, timeout=timeout)

    return Listing(page)


def retrieve(
    query: str,
    *,
    top_k: int | None = None,
    score_threshold: float | None = None,
    where: Mapping[str, Any] | None = None,
    timeout: float | None = None,
) -> Call[Retrieval]:
    """Search by meaning.

    Args:
        top_k: most results, 1 to 20.
        score_threshold: least score of a result, 0 to 1.
        where: metadata a result must have.
    """
    request = memory.RetrieveRequest(query=query, top_k=top_k, score_threshold=score_threshold)
    if where:
        request.filter.CopyFrom(to_struct(where))
    return unary(lambda mesh: mesh.memory.Retrieve, request, _retrieved, repeatable=True, timeout=timeout)


def _stored(response: memory.RememberResponse) -> Stored:
    return Stored(response.key, response.vector_id, response.embedding_dimensions, moment(response.indexed_at))


def _recalled(response: memory.RecallResponse) -> Memory:
    return Memory(
        response.key,
        from_value(response.value),
        from_struct(response.metadata),
        created_at=moment(response.created_at),
        accessed_count=response.accessed_count,
        last_accessed=moment(response.last_accessed),
    )


def _deleted(response: memory.ForgetResponse) -> bool:
    return response.deleted


def _page(response: memory.ListMemoriesResponse) -> Page[Memory]:
    return Page([_listed(each) for each in response.memories], response.next_page_token)


def _listed(listed: memory.Memory) -> Memory:
    return Memory(
        listed.key,
        from_value(listed.value),
        from_struct(listed.metadata),
        created_at=moment(listed.created_at),
        accessed_count=listed.accessed_count,
        last_accessed=moment(listed.last_accessed),
        expires_at=moment(listed.expires_at),
    )


def _retrieved(response: memory.RetrieveResponse) -> Retrieval:
    found = (
        Memory(each.key, from_value(each.value), from_struct(each.metadata), each.score) for each in response.results
    )
    return Retrieval(tuple(found), response.answer, tuple(response.sources), response.degraded)
