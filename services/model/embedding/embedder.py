"""What an embedder is: texts in, one unit vector each out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Embeddings:
    """Vectors of one call, in the order of its texts.

    Attributes:
        vectors: float32, (n, dimensions), each of length 1.
        norms: float32, (n,): the length of each vector before it was normalised.
        tokens: int32, (n,): tokens the model read of each text, its start and end marks included.
        windows: int32, (n,): in how many windows each text was read, whose vectors are averaged; None for one each.
    """

    vectors: NDArray[np.float32]
    norms: NDArray[np.float32]
    tokens: NDArray[np.int32]
    windows: NDArray[np.int32] | None = None


class Embedder(Protocol):
    """A model that places texts in a vector space."""

    @property
    def model(self) -> str:
        """The model's public name."""

    @property
    def dimensions(self) -> int:
        """Length of every vector."""

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """Vectors of `texts`.

        Raises:
            ResourceExhausted: too many texts are waiting already.
            FailedPrecondition: the model cannot be loaded here; the message says why.
            Unavailable: the embedder is closing.
        """
