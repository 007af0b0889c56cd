"""Answers over native gRPC: a chat turn, a generation, and a bidi stream of echoes."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc
from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.model.v1.model_service_pb2 import GenerateRequest
from soma.model.v1.model_service_pb2_grpc import ModelServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub
from soma.testing.v1 import echo_service_pb2 as echo
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub

from services.mesh.call.status import from_rpc_error
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.streams.reader import Ask, Cut
from tests.e2e.surfaces import request

PAUSE = 0.05
# A stream stays open as long as a test takes on a busy machine.
HELD_SECONDS = 6 * CALL_SECONDS


async def chat(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """ChatService.Chat."""
    async with stack.channel() as channel:
        asked = request(ask.text, ask.model, ask.conversation)
        call = ChatServiceStub(channel).Chat(asked, metadata=stack.metadata, timeout=HELD_SECONDS)
        async with aclosing(_pieces(call)) as pieces:
            async for piece in pieces:
                yield piece


async def generate(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """ModelService.Generate, without orchestrator, policy and memory."""
    async with stack.channel() as channel:
        messages = [Message(role=ROLE_USER, content=ask.text)]
        asked = GenerateRequest(model=ask.model, messages=messages, conversation_id=ask.conversation)
        call = ModelServiceStub(channel).Generate(asked, metadata=stack.metadata, timeout=HELD_SECONDS)
        async with aclosing(_pieces(call)) as pieces:
            async for piece in pieces:
                yield piece


async def echoes(stack: Stack, ask: Ask) -> AsyncGenerator[str, None]:
    """EchoService.ChatEchoes: both sides stream at the same time."""
    said = heard = 0

    async def say() -> AsyncIterator[echo.ChatEchoesRequest]:
        nonlocal said
        while said == 0 or (ask.until is not None and not ask.until.is_set()):
            said += 1
            yield echo.ChatEchoesRequest(text=ask.text)
            await asyncio.sleep(PAUSE)

    async with stack.channel() as channel:
        call = EchoServiceStub(channel).ChatEchoes(say(), metadata=stack.metadata, timeout=HELD_SECONDS)
        try:
            async for answer in call:
                assert answer.sequence == heard
                heard += 1
                yield answer.text
        finally:
            call.cancel()
        if heard < said:
            raise Cut


async def _pieces(call: Any) -> AsyncGenerator[str, None]:
    """The text of a chat or a generation; the last event of a failure must have the reason of the status."""
    told, finished, sequence = "", False, 0
    failure: grpc.aio.AioRpcError | None = None
    try:
        async for event in call:
            kind = event.WhichOneof("payload")
            assert not finished, f"{kind} after the final event"
            assert event.sequence == sequence
            sequence += 1
            if kind == "delta":
                yield event.delta.text
            elif kind == "error":
                told = event.error.reason
            finished = kind == "finished"
    except grpc.aio.AioRpcError as error:
        failure = error
    finally:
        call.cancel()
    if failure is not None:
        assert told in ("", from_rpc_error(failure).reason)
        raise failure
    if not finished:
        raise Cut
