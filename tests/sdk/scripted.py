"""Chat and model services that follow a test's script, and record the calls."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from soma.mesh.v1.stream_pb2 import Heartbeat, StreamError
from soma.model.v1 import message_pb2 as model
from soma.model.v1 import model_service_pb2 as generation
from soma.model.v1.model_service_pb2_grpc import ModelServiceServicer
from soma.orchestrator.v1 import chat_service_pb2 as chat
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceServicer
from soma.policy.v1 import policy_service_pb2 as policy

from tests.sdk.services import Faults

Step = chat.ChatResponse | BaseException | asyncio.Event


class ScriptedChat(ChatServiceServicer):
    """Sends the events of `script`, raises its exceptions and waits for its `asyncio.Event`s."""

    def __init__(self) -> None:
        self.script: Sequence[Step] = spoken("Hello", ", world")
        self.requests: list[chat.ChatRequest] = []
        self.metadata: dict[str, str | bytes] = {}
        self.seconds_left = 0.0
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def Chat(self, request: chat.ChatRequest, context: Any) -> AsyncIterator[chat.ChatResponse]:
        self.requests.append(request)
        self.metadata = dict(context.invocation_metadata())
        self.seconds_left = context.time_remaining()
        self.begun.set()
        try:
            for step in self.script:
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.ended.set()


class FakeModel(ModelServiceServicer):
    """Answers `Hello`; the vector of a text is its length."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults

    async def Generate(
        self, request: generation.GenerateRequest, context: object
    ) -> AsyncIterator[generation.GenerateResponse]:
        self._faults.check(request)
        started = generation.GenerationStarted(generation_id="g1", model="plain", provider="local")
        yield generation.GenerateResponse(started=started)
        yield generation.GenerateResponse(delta=generation.TextDelta(text="Hello"))
        finished = generation.GenerationFinished(finish_reason=model.FINISH_REASON_LENGTH, usage=USAGE)
        yield generation.GenerateResponse(finished=finished)

    async def Infer(self, request: generation.InferRequest, context: object) -> generation.InferResponse:
        self._faults.check(request)
        return generation.InferResponse(
            model="plain", completion=" and on", usage=USAGE, finish_reason="stop", latency_ms=250
        )

    async def Embed(self, request: generation.EmbedRequest, context: object) -> generation.EmbedResponse:
        self._faults.check(request)
        vectors = [
            generation.Vector(embedding=[len(text), 0.5], index=index) for index, text in enumerate(request.input)
        ]
        usage = generation.EmbeddingUsage(total_tokens=len(vectors))
        return generation.EmbedResponse(model="vectors", vectors=reversed(vectors), vector_length=2, usage=usage)


USAGE = model.Usage(prompt_tokens=5, completion_tokens=2, total_tokens=7)


def spoken(*texts: str) -> list[Step]:
    """The events of a whole turn with these texts."""
    finished = chat.ChatFinished(
        finish_reason=model.FINISH_REASON_STOP,
        usage=USAGE,
        time_to_first_token_seconds=0.25,
        duration_seconds=0.5,
        sources=[model.Source(key="fact/1")],
    )
    return [
        chat.ChatResponse(started=chat.ChatStarted(chat_id="t1", model="plain", conversation_id="c1")),
        chat.ChatResponse(heartbeat=Heartbeat()),
        *(chat.ChatResponse(delta=chat.ChatDelta(text=text)) for text in texts),
        chat.ChatResponse(finished=finished),
    ]


def noticed() -> chat.ChatResponse:
    """The event that reports that policy removed something from the input."""
    rule = policy.MatchedRule(rule_id="pii.email", decision=policy.DECISION_REDACT, reason="an address")
    return chat.ChatResponse(
        policy=chat.PolicyNotice(decision=policy.DECISION_REDACT, stage="input", matched_rules=[rule])
    )


def broken(code: grpc.StatusCode, reason: str) -> chat.ChatResponse:
    """The error event that ends a failed stream."""
    error = StreamError(code=code.value[0], status=code.name, reason=reason, message="it broke", retry_after_seconds=2)
    return chat.ChatResponse(error=error)
