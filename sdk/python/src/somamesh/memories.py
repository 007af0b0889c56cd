"""Remembered values."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from soma.memory.v1 import memory_service_pb2 as memory

from somamesh.json_values import from_struct, from_value
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


def stored(response: memory.RememberResponse) -> Stored:
    """How a value was stored."""
    return Stored(response.key, response.vector_id, response.embedding_dimensions, moment(response.indexed_at))


def recalled(response: memory.RecallResponse) -> Memory:
    """A value that was read by its key."""
    return Memory(
        response.key,
        from_value(response.value),
        from_struct(response.metadata),
        created_at=moment(response.created_at),
        accessed_count=response.accessed_count,
        last_accessed=moment(response.last_accessed),
    )


def was_there(response: memory.ForgetResponse) -> bool:
    """Whether there was anything to forget."""
    return response.deleted


def listed(each: memory.Memory) -> Memory:
    """A value of a list."""
    return Memory(
        each.key,
        from_value(each.value),
        from_struct(each.metadata),
        created_at=moment(each.created_at),
        accessed_count=each.accessed_count,
        last_accessed=moment(each.last_accessed),
        expires_at=moment(each.expires_at),
    )


def retrieved(response: memory.RetrieveResponse) -> Retrieval:
    """What fits a query."""
    found = (
        Memory(each.key, from_value(each.value), from_struct(each.metadata), each.score) for each in response.results
    )
    return Retrieval(tuple(found), response.answer, tuple(response.sources), response.degraded)
