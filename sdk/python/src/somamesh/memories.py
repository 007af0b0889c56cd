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
        score: how well it matches the query, 0 to 1; None when it was read by its key or listed.
        created_at: when it was first stored; None in the results of a query.
        accessed_count: how often it was read by its key, with this time; None in the results of a query.
        last_accessed: when it was read before; None in the results of a query.
        expires_at: when it is deleted; None when it never is, and in anything but a list.
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
    """The memories that match a query, best first; you can iterate over it.

    Attributes:
        answer: the sentence of the memories that answers best, as a quotation; empty when there is none.
        sources: the keys of the memories.
        degraded: the memories were found by keywords, because vectors were not available.
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


def from_remember(response: memory.RememberResponse) -> Stored:
    """Convert the result of storing a value."""
    return Stored(response.key, response.vector_id, response.embedding_dimensions, moment(response.indexed_at))


def from_recall(response: memory.RecallResponse) -> Memory:
    """Convert a value that was read by its key."""
    return Memory(
        response.key,
        from_value(response.value),
        from_struct(response.metadata),
        created_at=moment(response.created_at),
        accessed_count=response.accessed_count,
        last_accessed=moment(response.last_accessed),
    )


def from_forget(response: memory.ForgetResponse) -> bool:
    """Whether the key had a value."""
    return response.deleted


def from_memory(each: memory.Memory) -> Memory:
    """Convert a value of a list."""
    return Memory(
        each.key,
        from_value(each.value),
        from_struct(each.metadata),
        created_at=moment(each.created_at),
        accessed_count=each.accessed_count,
        last_accessed=moment(each.last_accessed),
        expires_at=moment(each.expires_at),
    )


def from_retrieve(response: memory.RetrieveResponse) -> Retrieval:
    """Convert the results of a query."""
    found = (
        Memory(each.key, from_value(each.value), from_struct(each.metadata), each.score) for each in response.results
    )
    return Retrieval(tuple(found), response.answer, tuple(response.sources), response.degraded)
