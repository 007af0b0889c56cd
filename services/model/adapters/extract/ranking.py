"""Ranks passages for a question: by common words, and by meaning if the embedder is loaded."""

import math
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from services.mesh.call import errors
from services.model.adapters.extract.language import terms
from services.model.adapters.extract.passages import Passage
from services.model.embedding.embedder import Embeddings

_log = structlog.get_logger(__name__)

# With MiniLM, a question and the sentence that answers it have a cosine of 0.35 to 0.8; unrelated ones are below 0.28.
_LEAST_LIKENESS = 0.34
# A passage with a common word needs only this total score.
_LEAST_SCORE = 0.33
_MEANING = 0.65
_WORDS = 0.35
_LATER = 0.04
# Number of passages whose meaning is compared. The others have few common words or are old.
_LOOKED_AT = 64
_REMEMBERED_VECTORS = 2048
_LONGEST_EMBEDDED = 512

# Like `Embedder.embed`, but it fails if the model is not loaded: an answer must not wait for that.
EmbedAtOnce = Callable[[Sequence[str]], Awaitable[Embeddings]]


@dataclass(frozen=True, slots=True)
class RankedPassage:
    """A passage and its score, 0 to 1."""

    passage: Passage
    score: float


class Ranking:
    """Ranks passages for questions; it caches the vectors of sentences."""

    def __init__(self, embed: EmbedAtOnce) -> None:
        self._embed = embed
        self._vectors: OrderedDict[str, Sequence[float]] = OrderedDict()

    async def rank(self, question: str, passages: Sequence[Passage]) -> list[RankedPassage]:
        """The passages that may answer, best first. Equal inputs give equal results."""
        overlaps = _overlaps(terms(question), [terms(passage.text) for passage in passages])
        at_hand = sorted(range(len(passages)), key=lambda n: (overlaps[n], passages[n].order), reverse=True)
        at_hand = at_hand[:_LOOKED_AT]
        likeness = await self._likeness(question, [passages[n].text for n in at_hand])
        newest = max((passage.order for passage in passages), default=0) or 1
        ranked = []
        for position, n in enumerate(at_hand):
            passage, overlap = passages[n], overlaps[n]
            if likeness is None:
                score, matches = overlap, overlap >= _LEAST_SCORE
            else:
                score = _MEANING * likeness[position] + _WORDS * overlap
                matches = likeness[position] >= _LEAST_LIKENESS or (overlap > 0 and score >= _LEAST_SCORE)
            score *= passage.weight
            if matches:
                ranked.append(RankedPassage(passage, round(min(1.0, score + _LATER * passage.order / newest), 4)))
        return sorted(ranked, key=lambda each: (each.score, each.passage.order), reverse=True)

    async def _likeness(self, question: str, texts: Sequence[str]) -> list[float] | None:
        """The cosine of the question and each text; None when vectors are not available."""
        if not texts:
            return None
        wanted = [text[:_LONGEST_EMBEDDED] for text in (question, *texts)]
        missing = [text for text in dict.fromkeys(wanted) if text not in self._vectors]
        try:
            found = await self._embed(missing) if missing else None
        except errors.MeshError as error:
            _log.warning("ranking_by_words_only", reason=error.reason)
            return None
        if found is not None:
            # Rounded to three places, so that the composition of a batch does not decide which of two passages is
            # quoted.
            self._vectors.update(zip(missing, found.vectors.round(3).tolist(), strict=True))
        asked, *vectors = [self._vectors[text] for text in wanted]
        for text in wanted:
            self._vectors.move_to_end(text)
        while len(self._vectors) > _REMEMBERED_VECTORS:
            self._vectors.popitem(last=False)
        return [sum(a * b for a, b in zip(asked, vector, strict=True)) for vector in vectors]


def _overlaps(asked: frozenset[str], texts: Sequence[frozenset[str]]) -> list[float]:
    """For each text, the share of the question's words that it has; rare words count more."""
    spread = Counter(term for text in texts for term in text & asked)
    rarity = {term: math.log(1 + (len(texts) + 1) / (spread[term] + 0.5)) for term in sorted(asked)}
    whole = sum(rarity.values())
    return [sum(rarity[term] for term in sorted(text & asked)) / whole if whole else 0.0 for text in texts]
