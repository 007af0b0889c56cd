"""The generations of one request, which run in parallel; each event has the index of its choice."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from grpc.aio import UnaryStreamCall
from soma.model.v1.message_pb2 import Usage
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest, ChatResponse

from services.mesh.process import tasks

Call = UnaryStreamCall[ChatRequest, ChatResponse]
Indexed = AsyncGenerator[tuple[int, ChatResponse], None]

# When this many events wait for a slow client, the generations are not read further.
_FULL = 64
_SEEDS = 2**31


def requests(request: ChatRequest, count: int) -> list[ChatRequest]:
    """One request for each choice. Equal seeds would give equal answers, so each choice has its own seed."""
    if count == 1 or not request.options.sampling.HasField("seed"):
        return [request] * count
    asked = []
    for index in range(count):
        one = ChatRequest()
        one.CopyFrom(request)
        seed = request.options.sampling.seed
        one.options.sampling.seed = (seed + index) % _SEEDS if index else seed
        asked.append(one)
    return asked


async def merged(calls: Sequence[Call]) -> Indexed:
    """The events of all calls as they arrive; if one call fails, all calls end.

    Raises:
        MeshError: the error of the call that failed.
    """
    if len(calls) == 1:
        async for event in calls[0]:
            yield 0, event
        return
    queue: asyncio.Queue[tuple[int, ChatResponse] | Exception | None] = asyncio.Queue(_FULL)
    readers = [asyncio.create_task(_read(index, call, queue)) for index, call in enumerate(calls)]
    try:
        open_calls = len(calls)
        while open_calls:
            found = await queue.get()
            if found is None:
                open_calls -= 1
            elif isinstance(found, Exception):
                raise found
            else:
                yield found
    finally:
        await tasks.end(*readers)


def summed(usages: Sequence[Usage], each: int) -> Usage:
    """The usage of all choices together. As in OpenAI's API, a prompt is counted once for all of its `each` choices."""
    if len(usages) == 1:
        return usages[0]
    prompts = [usages[start : start + each] for start in range(0, len(usages), each)]
    prompt = sum(max(usage.prompt_tokens for usage in choices) for choices in prompts)
    completion = sum(usage.completion_tokens for usage in usages)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        cached_prompt_tokens=sum(max(usage.cached_prompt_tokens for usage in choices) for choices in prompts),
        reasoning_tokens=sum(usage.reasoning_tokens for usage in usages),
        cache_write_prompt_tokens=sum(max(usage.cache_write_prompt_tokens for usage in choices) for choices in prompts),
        estimated=any(usage.estimated for usage in usages),
    )


async def _read(index: int, call: Call, queue: "asyncio.Queue[tuple[int, ChatResponse] | Exception | None]") -> None:
    try:
        async for event in call:
            await queue.put((index, event))
        await queue.put(None)
    except Exception as error:
        await queue.put(error)
