"""Turns of a model: through the whole mesh, or through the model service alone."""

from typing import Literal, Unpack

from soma.memory.v1 import memory_service_pb2 as memory
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest

from somamesh.answers import Turn
from somamesh.calls import Streaming
from somamesh.enums import enum_value
from somamesh.messages import Messages, to_messages
from somamesh.options import Options, fields_of

Strategy = Literal["short_only", "long_only", "hybrid"]


def chat(
    messages: Messages,
    *,
    model: str = "",
    conversation: str = "",
    strategy: Strategy | None = None,
    context_token_budget: int | None = None,
    timeout: float | None = None,
    **options: Unpack[Options],
) -> Streaming[Turn]:
    """Take a turn, with policy and memory: a text, or messages with `role` and `content`.

    Args:
        model: its name; empty for the default.
        conversation: where the turn is remembered, under any name; then `messages` are only what is new.
        strategy: which memory to bring in: recent turns, remembered facts, or both.
        context_token_budget: most tokens memory brings in.
        options: see `Options`.
    """
    request = ChatRequest(
        model=model,
        messages=to_messages(messages),
        conversation_id=conversation,
        strategy=None if strategy is None else enum_value(memory.Strategy, strategy),
        context_token_budget=context_token_budget,
        **fields_of(options),
    )
    return Streaming(lambda mesh: mesh.chat_service.Chat, request, Turn, timeout)


def generate(
    messages: Messages, *, model: str = "", timeout: float | None = None, **options: Unpack[Options]
) -> Streaming[Turn]:
    """Have a model go on with a conversation; nothing is remembered, nothing brought in, no policy asked.

    Args:
        model: its name; empty for the default.
        options: see `Options`.
    """
    request = GenerateRequest(model=model, messages=to_messages(messages), **fields_of(options))
    return Streaming(lambda mesh: mesh.model_service.Generate, request, Turn, timeout)
