"""The embedding model as memory uses it, and the arithmetic of its vectors."""

import math
from collections.abc import Sequence
from typing import Protocol, TypeAlias

from services.memory.passages import cut

Vector: TypeAlias = list[float]

DIMENSIONS = 384
# Of a long query, only the first and the last pieces are used: the question is rarely in the middle.
_HEAD = 4
_TAIL = 4


class Embedder(Protocol):
    """Turns texts into vectors of length 1."""

    async def embed(self, tenant_id: str, texts: Sequence[str]) -> list[Vector]:
        """A vector for each text of at most 512 characters.

        Raises:
            MeshError: the model service does not answer with vectors now.
        """
        ...


async def embed_query(embedder: Embedder, tenant_id: str, query: str) -> Vector:
    """One vector for a text of any length: the mean of its pieces' vectors, of length 1.

    Raises:
        MeshError: the model service does not answer with vectors now.
    """
    pieces = cut(query)
    if len(pieces) > _HEAD + _TAIL:
        pieces = [*pieces[:_HEAD], *pieces[-_TAIL:]]
    vectors = await embedder.embed(tenant_id, pieces or [query[:1]])
    return vectors[0] if len(vectors) == 1 else _unit([sum(column) for column in zip(*vectors, strict=True)])


def score(cosine: float) -> float:
    """A cosine (-1 to 1) as a score from 0 to 1, (1 + cosine) / 2, as Elasticsearch and Lucene define it.

    The contract's default threshold of 0.7 is then a cosine of 0.4. MiniLM gives a question and the sentence that
    answers it 0.2 to 0.8, and unrelated texts about 0.06: as a bare cosine, 0.7 would drop most answers.
    """
    return min(1.0, max(0.0, (1.0 + cosine) / 2.0))


def cosine(a: Vector, b: Vector) -> float:
    """The cosine of two vectors of length 1."""
    return sum(x * y for x, y in zip(a, b, strict=True))


def _unit(vector: Sequence[float]) -> Vector:
    length = math.sqrt(sum(x * x for x in vector)) or 1.0
    return [x / length for x in vector]
