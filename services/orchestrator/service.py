"""soma.orchestrator.v1.ChatService over turns."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.orchestrator.v1 import chat_service_pb2_grpc as rpc

from services.orchestrator.turn import TakesTurns


class ChatService(rpc.ChatServiceServicer):
    """Numbers the events of a turn."""

    def __init__(self, turns: TakesTurns) -> None:
        self._turns = turns

    async def Chat(self, request: pb.ChatRequest, context: Any) -> AsyncGenerator[pb.ChatResponse, None]:
        """See the contract."""
        async with aclosing(self._turns.take(request)) as events:
            sequence = 0
            async for event in events:
                event.sequence = sequence
                sequence += 1
                yield event
