"""The engine of `soma-extract-v1`."""

import asyncio
from collections.abc import AsyncGenerator

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import ROLE_USER, Delta, Source, Usage
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished

from services.messages.message import text_of
from services.model.adapters.extract import voice
from services.model.adapters.extract.language import is_greeting, sentences, without_request
from services.model.adapters.extract.passages import question_and_passages
from services.model.adapters.extract.ranking import RankedPassage, Ranking
from services.model.adapters.local import local_model
from services.model.adapters.writing import Writer
from services.model.provider import ProviderEvent
from services.model.tokens import pieces

# A quotation with a lower score is called the closest one, not the answer.
_SURE = 0.42
# A second sentence is quoted only if its score is at least this share of the first. If two scores differ by less than
# `_ALIKE`, the later sentence comes first.
_NEARLY = 0.85
_ALIKE = 0.05
_MOST_QUOTES = 2


class ExtractEngine:
    """Quotes the best sentences of a conversation and its sources; it makes no statements of its own."""

    def __init__(self, ranking: Ranking) -> None:
        self._ranking = ranking
        self._model = local_model(voice.NAME, Model.CAPABILITY_CHAT)

    @property
    def model(self) -> Model:
        return self._model

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[ProviderEvent, None]:
        """Answer the user's last message, word by word."""
        answer, quotes = await self._answer(request)
        sampling = request.options.sampling
        writer = Writer(sampling.max_tokens if sampling.HasField("max_tokens") else None, sampling.stop_sequences)
        for token in pieces(answer):
            if text := writer.write(token):
                yield Delta(text=text)
                # The whole answer exists already. This sends the first word before the rest is split into words.
                await asyncio.sleep(0)
            if writer.reason is not None:
                break
        rest, reason = writer.end()
        if rest:
            yield Delta(text=rest)
        texts = [*map(text_of, request.messages), *(source.text for source in request.sources)]
        read = sum(len(pieces(text)) for text in texts)
        yield GenerationFinished(
            finish_reason=reason,
            stop_sequence=writer.stop,
            usage=Usage(prompt_tokens=read, completion_tokens=writer.written, total_tokens=read + writer.written),
            sources=[Source(key=each.passage.key, text=each.passage.text, score=each.score) for each in quotes],
        )

    async def _answer(self, request: GenerateRequest) -> tuple[str, list[RankedPassage]]:
        asked, passages = question_and_passages(list(request.messages), list(request.sources))
        if not asked:
            last = next((text_of(m) for m in reversed(request.messages) if m.role == ROLE_USER), "")
            statements = [without_request(sentence) for sentence in sentences(last) if not is_greeting(sentence)]
            return (voice.acknowledged(statements) if statements else voice.greeted()), []
        ranked = await self._ranking.rank(" ".join(asked), passages)
        if not ranked:
            return voice.nothing_found(), []
        quotes = _distinct(ranked)
        answer = "\n".join(voice.quoted(each.passage.text, each.passage.said_by) for each in quotes)
        return (answer if ranked[0].score >= _SURE else voice.closest(answer)), quotes


def _distinct(ranked: list[RankedPassage]) -> list[RankedPassage]:
    """The best passage, and a second one with a different text if it is nearly as good."""
    chosen: list[RankedPassage] = []
    for each in ranked:
        if each.score < ranked[0].score * _NEARLY or len(chosen) == _MOST_QUOTES:
            break
        if all(each.passage.text.casefold() != other.passage.text.casefold() for other in chosen):
            chosen.append(each)
    if chosen[-1].score > ranked[0].score - _ALIKE:
        chosen.sort(key=lambda each: each.passage.order, reverse=True)
    return chosen
