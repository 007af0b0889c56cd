"""The interface of an embedder: it makes one unit vector for each text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of one call, in the order of its texts.

    Attributes:
        vectors: float32, (n, dimensions), each of length 1.
        norms: float32, (n,): the length of each vector before it was normalised.
        tokens: int32, (n,): number of tokens of each text, with its start and end tokens.
        windows: int32, (n,): number of windows of each text, whose vectors are averaged; None if each text has one.
    """

    vectors: NDArray[np.float32]
    norms: NDArray[np.float32]
    tokens: NDArray[np.int32]
    windows: NDArray[np.int32] | None = None


class Embedder(Protocol):
    """A model that makes vectors of texts."""

    @property
    def model(self) -> str:
        """The public name of the model."""

    @property
    def dimensions(self) -> int:
        """The number of dimensions of every vector."""

    async def embed(self, texts: Sequence[str], background: bool = False) -> Embeddings:
        """The vectors of `texts`. If nobody waits for them, `background`, an embedder may make those of others first.

        Raises:
            ResourceExhausted: too many texts are waiting.
            FailedPrecondition: the model cannot be loaded here; the message says why.
            Unavailable: the embedder is closing.
        """
