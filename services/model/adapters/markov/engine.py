"""The engine of `somasuite-markov-v1`."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from functools import cache
from pathlib import Path
from random import Random

from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import Delta, Usage
from soma.model.v1.model_service_pb2 import GenerateRequest, GenerationFinished

from services.messages.message import text_of
from services.model.adapters.local import local_model
from services.model.adapters.markov.chain import END, ORDER, Chain, key, train
from services.model.adapters.markov.sampling import drawing
from services.model.adapters.writing import Writer
from services.model.provider import ProviderEvent
from services.model.tokens import pieces

NAME = "somasuite-markov-v1"

_TOKENS = 64
# Tokens written before other tasks of the event loop may run; a token takes some tens of microseconds.
_AT_A_TIME = 8


@cache
def packaged_chain() -> Chain:
    """The chain of the packaged text."""
    return train(Path(__file__).with_name("corpus.txt").read_text("utf-8"))


class MarkovEngine:
    """Continues the last words of a conversation in the style of its training text."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._model = local_model(NAME, Model.CAPABILITY_CHAT, Model.CAPABILITY_COMPLETION)

    @property
    def model(self) -> Model:
        return self._model

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[ProviderEvent, None]:
        """Write until the paragraph ends, a stop sequence appears, or the limit (64 tokens by default) is reached."""
        sampling = request.options.sampling
        draw = drawing(sampling).draw
        # Without a seed, each answer is different.
        random = Random(sampling.seed) if sampling.HasField("seed") else Random()
        writer = Writer(sampling.max_tokens if sampling.HasField("max_tokens") else _TOKENS, sampling.stop_sequences)
        prompt = [piece for message in request.messages for piece in pieces(text_of(message))]
        seen = Counter(key(prompt))
        context = prompt[-ORDER:]
        while writer.reason is None:
            likely = self._chain.distribution(context)
            if writer.written == 0 and len(likely) > 1:
                # A prompt may end at the end of a paragraph, but an answer must not be empty.
                likely.pop(END, None)
            token = draw(likely, seen, random)
            if token == END:
                break
            if text := writer.write(token):
                yield Delta(text=text)
            seen.update(key((token,)))
            context = [*context[-ORDER + 1 :], token]
            if writer.written % _AT_A_TIME == 0:
                await asyncio.sleep(0)
        rest, reason = writer.end()
        if rest:
            yield Delta(text=rest)
        yield GenerationFinished(
            finish_reason=reason,
            stop_sequence=writer.stop,
            usage=Usage(
                prompt_tokens=len(prompt),
                completion_tokens=writer.written,
                total_tokens=len(prompt) + writer.written,
            ),
        )
