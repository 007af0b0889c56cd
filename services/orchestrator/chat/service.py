"""soma.orchestrator.v1.ChatService: one call takes one turn."""

from collections.abc import AsyncGenerator
from typing import Any

from soma.orchestrator.v1 import chat_service_pb2 as pb
from soma.orchestrator.v1 import chat_service_pb2_grpc as rpc

from services.orchestrator.chat.turn import TakesTurns


class ChatService(rpc.ChatServiceServicer):
    """Takes one turn for each call."""

    def __init__(self, turns: TakesTurns) -> None:
        self._turns = turns

    def Chat(self, request: pb.ChatRequest, context: Any) -> AsyncGenerator[pb.ChatResponse, None]:
        return self._turns.take(request)
