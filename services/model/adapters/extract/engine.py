"""The engine of `soma-extract-v1`."""

import asyncio
from collections.abc import AsyncGenerator

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import ROLE_USER, Source, Usage
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished, TextDelta

from services.model.adapters.extract import voice
from services.model.adapters.extract.language import is_greeting, noted, sentences
from services.model.adapters.extract.passages import question_and_passages
from services.model.adapters.extract.ranking import Fit, Ranking
from services.model.adapters.local import local_model
from services.model.adapters.writing import Writer
from services.model.provider import ProviderEvent
from services.model.tokens import pieces

# Below this, a quotation is offered as the closest there is, not as the answer.
_SURE = 0.42
# A second sentence is quoted only when it fits nearly as well as the first; of two that fit alike, the later is first.
_NEARLY = 0.85
_ALIKE = 0.05
_MOST_QUOTES = 2


class ExtractEngine:
    """Quotes the best sentences of a conversation and its sources; never says what nobody said."""

    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking
        self._model = local_model(voice.NAME, Model.CAPABILITY_CHAT)

    @property
    def model(self) -> Model:
        return self._model

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[ProviderEvent, None]:
        """Answer the last thing the person said, word by word."""
        answer, quotes = await self._answer(request)
        limit = request.sampling.max_tokens if request.sampling.HasField("max_tokens") else None
        writer = Writer(limit, request.sampling.stop_sequences)
        for token in pieces(answer):
            if text := writer.write(token):
                yield TextDelta(text=text)
                # The answer is there at once; its first word leaves before the rest is cut into words.
                await asyncio.sleep(0)
            if writer.reason is not None:
                break
        rest, reason = writer.end()
        if rest:
            yield TextDelta(text=rest)
        read = sum(len(pieces(m.content)) for m in request.messages) + sum(len(pieces(s.text)) for s in request.sources)
        yield GenerationFinished(
            finish_reason=reason,
            usage=Usage(prompt_tokens=read, completion_tokens=writer.written, total_tokens=read + writer.written),
            sources=[Source(key=fit.passage.key, text=fit.passage.text, score=fit.score) for fit in quotes],
        )

    async def _answer(self, request: GenerateRequest) -> tuple[str, list[Fit]]:
        asked, passages = question_and_passages(list(request.messages), list(request.sources))
        if not asked:
            last = next((m.content for m in reversed(request.messages) if m.role == ROLE_USER), "")
            told = [noted(sentence) for sentence in sentences(last) if not is_greeting(sentence)]
            return (voice.acknowledged(told) if told else voice.greeted()), []
        fits = await self._ranking.rank(" ".join(asked), passages)
        if not fits:
            return voice.nothing_found(), []
        quotes = _distinct(fits)
        answer = "\n".join(voice.quoted(fit.passage.text, fit.passage.said_by) for fit in quotes)
        return (answer if fits[0].score >= _SURE else voice.closest(answer)), quotes


def _distinct(fits: list[Fit]) -> list[Fit]:
    """The best, and another that is nearly as good and says something else."""
    chosen: list[Fit] = []
    for fit in fits:
        if fit.score < fits[0].score * _NEARLY or len(chosen) == _MOST_QUOTES:
            break
        if all(fit.passage.text.casefold() != other.passage.text.casefold() for other in chosen):
            chosen.append(fit)
    if chosen[-1].score > fits[0].score - _ALIKE:
        chosen.sort(key=lambda fit: fit.passage.order, reverse=True)
    return chosen
