"""Turns with a model: through the whole mesh, or with the model service alone."""

from typing import Literal, Unpack

from soma.memory.v1 import memory_service_pb2 as memory
from soma.model.v1.model_service_pb2 import CountTokensRequest, GenerateRequest
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest

from somamesh.answers import Turn
from somamesh.calls import Call, Streaming, unary
from somamesh.enums import enum_value
from somamesh.messages import Messages, to_messages
from somamesh.models import TokenCount, from_count_tokens
from somamesh.options import Options, options_of

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
    """Send a text, or messages with `role` and `content`, and get the answer. Policy and memory take part.

    Args:
        model: its name; empty for the default.
        conversation: id, of your choice, of the conversation that remembers the turn; then send only new messages.
        strategy: which memory to use: recent turns, remembered facts, or both.
        context_token_budget: maximum number of tokens from memory.
        options: see `Options`.
    """
    request = ChatRequest(
        model=model,
        messages=to_messages(messages),
        conversation_id=conversation,
        strategy=None if strategy is None else enum_value(memory.Strategy, strategy),
        context_token_budget=context_token_budget,
        options=options_of(options),
    )
    return Streaming(lambda mesh: mesh.chat_service.Chat, request, Turn, timeout)


def generate(
    messages: Messages, *, model: str = "", timeout: float | None = None, **options: Unpack[Options]
) -> Streaming[Turn]:
    """Send messages to a model and get its answer. Memory and policy take no part.

    Args:
        model: its name; empty for the default.
        options: see `Options`.
    """
    request = GenerateRequest(model=model, messages=to_messages(messages), options=options_of(options))
    return Streaming(lambda mesh: mesh.model_service.Generate, request, Turn, timeout)


def count_tokens(
    messages: Messages, *, model: str = "", timeout: float | None = None, **options: Unpack[Options]
) -> Call[TokenCount]:
    """Count the tokens that a model would read of messages and of options, such as tools. The model is not asked.

    Args:
        model: its name; empty for the default.
        options: see `Options`.
    """
    request = CountTokensRequest(model=model, messages=to_messages(messages), options=options_of(options))
    return unary(
        lambda mesh: mesh.model_service.CountTokens, request, from_count_tokens, repeatable=True, timeout=timeout
    )


def whole(turn: Streaming[Turn]) -> Streaming[Turn]:
    """The same turn, whose answer is sent in one piece, because nobody reads it while it is made. It costs less."""
    assert isinstance(turn.request, ChatRequest | GenerateRequest)
    turn.request.options.whole = True
    return turn
