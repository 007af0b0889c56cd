"""Counts the tokens that a model would read for a response, without asking it for an answer."""

from soma.model.v1.message_pb2 import ROLE_SYSTEM, Message
from soma.model.v1.model_service_pb2 import CountTokensRequest, CountTokensResponse
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest

from services.orchestrator.adapters.model import Models
from services.orchestrator.chat.turn import Turns


class TokenCounts:
    """Counts what a turn would ask for: the messages that policy lets through, and what memory adds to them."""

    def __init__(self, turns: Turns, models: Models) -> None:
        self._turns = turns
        self._models = models

    async def of(self, request: ChatRequest) -> CountTokensResponse:
        """The number of tokens that the model of a turn would read.

        Raises:
            MeshError: policy refuses the input, or the error of a neighbour.
        """
        async with self._turns.prepared(request, kept=False) as ready:
            generation = ready.generation
            counted = CountTokensRequest(model=generation.model, messages=generation.messages)
            if sources := "\n\n".join(source.text for source in generation.sources):
                counted.messages.insert(0, Message(role=ROLE_SYSTEM, content=sources))
            if generation.HasField("options"):
                counted.options.CopyFrom(generation.options)
            return await self._models.count(counted)
