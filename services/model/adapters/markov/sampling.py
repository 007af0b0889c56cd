"""Draws the next token from a distribution by the sampling fields of a request.

The order is that of Hugging Face's generation: repetition, frequency and presence penalties on the logarithms of the
probabilities; temperature; the `top_k` most probable tokens; the smallest set of these whose probability reaches
`top_p`.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from soma.model.v1.options_pb2 import Sampling

_TEMPERATURE = 0.8
_TOP_K = 50


@dataclass(frozen=True, slots=True)
class Drawing:
    """The sampling fields, with the defaults of the contract's InferRequest (0.8, 1.0, 50, 1.0)."""

    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    frequency_penalty: float
    presence_penalty: float

    def draw(self, distribution: Mapping[str, float], seen: Counter[str], random: Random) -> str:
        """Draw one token; `seen` counts the tokens of the prompt and of the text so far.

        At temperature 0 it is the most probable token; of equals, the first in the alphabet.
        """
        scored = self._penalised(distribution, seen)
        ranked = sorted(scored.items(), key=lambda item: (-item[1], item[0]))[: self.top_k]
        if self.temperature == 0 or len(ranked) == 1:
            return ranked[0][0]
        # Relative to the best score, so that very small temperatures do not overflow.
        best = ranked[0][1]
        weighed = [(token, math.exp((score - best) / self.temperature)) for token, score in ranked]
        nucleus = _nucleus(weighed, self.top_p)
        at = random.random() * sum(weight for _, weight in nucleus)
        for token, weight in nucleus:
            at -= weight
            if at < 0:
                return token
        return nucleus[-1][0]

    def _penalised(self, distribution: Mapping[str, float], seen: Counter[str]) -> dict[str, float]:
        scored = {}
        for token, probability in distribution.items():
            score = math.log(probability)
            if count := seen[token.strip().lower()]:
                # Logarithms of probabilities are at most 0, and for these the penalty multiplies (Keskar et al., 2019,
                # 4.1).
                score *= self.repetition_penalty
                score -= self.frequency_penalty * count + self.presence_penalty
            scored[token] = score
        return scored


def drawing(sampling: Sampling) -> Drawing:
    """The sampling fields of a request, or their defaults."""
    return Drawing(
        temperature=sampling.temperature if sampling.HasField("temperature") else _TEMPERATURE,
        top_p=sampling.top_p if sampling.HasField("top_p") else 1.0,
        top_k=sampling.top_k if sampling.HasField("top_k") else _TOP_K,
        repetition_penalty=sampling.repetition_penalty if sampling.HasField("repetition_penalty") else 1.0,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
    )


def _nucleus(weighed: list[tuple[str, float]], top_p: float) -> list[tuple[str, float]]:
    if top_p >= 1:
        return weighed
    wanted = top_p * sum(weight for _, weight in weighed)
    mass = 0.0
    for size, (_, weight) in enumerate(weighed, start=1):
        mass += weight
        if mass >= wanted:
            return weighed[:size]
    return weighed
