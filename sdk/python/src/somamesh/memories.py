"""Remembered values, between Python and the contract."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import json_format, struct_pb2
from soma.memory.v1 import memory_service_pb2 as memory


@dataclass(frozen=True, slots=True)
class Memory:
    """A remembered value; `score` is how well it fits the query it was found by (0 to 1), None when read by its key."""

    key: str
    value: Any
    metadata: dict[str, Any] = field(default_factory=dict)
    score: float | None = None


def remember_request(
    key: str, value: Any, metadata: Mapping[str, Any] | None, ttl_seconds: int | None
) -> memory.RememberRequest:
    """The request that stores any JSON value.

    Raises:
        ValueError: the value or the metadata is not JSON.
    """
    request = memory.RememberRequest(key=key, ttl_seconds=ttl_seconds)
    try:
        json_format.ParseDict(value, request.value)
        if metadata:
            json_format.ParseDict(dict(metadata), request.metadata)
    except (json_format.ParseError, AttributeError, TypeError) as error:
        raise ValueError(f"the value of {key!r} is not JSON: {error}") from error
    return request


def retrieve_request(
    query: str, top_k: int | None, score_threshold: float | None, where: Mapping[str, Any] | None
) -> memory.RetrieveRequest:
    """The request that searches by meaning; `where` is metadata a result must have."""
    request = memory.RetrieveRequest(query=query, top_k=top_k, score_threshold=score_threshold)
    if where:
        json_format.ParseDict(dict(where), request.filter)
    return request


def recalled(response: memory.RecallResponse) -> Memory:
    """A value read by its key."""
    return Memory(response.key, _python(response.value), _python(response.metadata))


def retrieved(response: memory.RetrieveResponse) -> list[Memory]:
    """Values found by meaning, best first."""
    return [Memory(each.key, _python(each.value), _python(each.metadata), each.score) for each in response.results]


def _python(value: struct_pb2.Value | struct_pb2.Struct) -> Any:
    return json_format.MessageToDict(value)
