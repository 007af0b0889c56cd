"""A question for a search, and a result of it."""

from dataclasses import dataclass

from services.memory.embedder import Vector
from services.memory.passages import Passage


@dataclass(frozen=True, slots=True)
class Question:
    """A text to find passages for: by its vector, or by its words if it has none.

    A score is `embedder.score` of the cosine, or the share of the text's words that a passage has.
    """

    text: str
    vector: Vector | None

    @property
    def degraded(self) -> bool:
        """Whether the search can only be by words."""
        return self.vector is None


@dataclass(frozen=True, slots=True)
class Found:
    """The best passage of a fact or of a turn. `source` is the fact's key, or `conversation:<id>#<sequence>`.

    `sequence` is the turn's; None for a fact.
    """

    source: str
    passage: Passage
    score: float
    sequence: int | None = None
