"""Pieces that arrive within a short time are merged into one message, and nothing is lost."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from soma.model.v1.message_pb2 import Delta, ReasoningDelta, ToolCallDelta
from soma.model.v1.model_service_pb2 import GenerationFinished

from services.mesh.call.errors import Internal, Unavailable
from services.model.event_buffer import EventBuffer
from services.model.provider import ProviderEvent
from tests.size import examples

_EVENT = st.one_of(
    st.builds(lambda text, refusal: Delta(text=text, refusal=refusal), st.text(min_size=1), st.booleans()),
    st.integers(0, 3).map(lambda index: Delta(tool_calls=[ToolCallDelta(index=index, arguments="{}")])),
    st.builds(
        lambda index, thought, text: Delta(reasoning=[ReasoningDelta(index=index, text=thought)], text=text),
        st.integers(0, 3),
        st.text(min_size=1),
        st.text(),
    ),
    st.none(),
)


async def script(events: Sequence[ProviderEvent | None], pause: float = 0.0) -> AsyncGenerator[ProviderEvent, None]:
    """Yield events without a pause; None lets other tasks run, or waits `pause` seconds."""
    for event in events:
        if event is None:
            await asyncio.sleep(pause)
        else:
            yield event


async def collected(buffer: EventBuffer) -> list[ProviderEvent]:
    found: list[ProviderEvent] = []
    while not found or not isinstance(found[-1], GenerationFinished):
        event = await buffer.next(30.0)
        assert event is not None
        found.append(event)
    await buffer.close()
    return found


def flat(events: Sequence[ProviderEvent | None]) -> list[tuple[object, str]]:
    """What the events say, in its order: texts, thoughts and calls with their index, each joined with its neighbour."""
    found: list[tuple[object, str]] = []
    for event in events:
        if event is None:
            continue
        said: list[tuple[object, str]] = [("end", "")]
        if isinstance(event, Delta):
            said = [(("thought", thought.index), thought.text) for thought in event.reasoning]
            said += [(("text", event.refusal), event.text)] if event.text else []
            said += [(("call", call.index), call.arguments) for call in event.tool_calls]
        for kind, text in said:
            if found and found[-1][0] == kind:
                found[-1] = (kind, found[-1][1] + text)
            else:
                found.append((kind, text))
    return found


@settings(max_examples=examples(60))
@given(events=st.lists(_EVENT, max_size=40), pause=st.sampled_from([0.0, 0.0003]))
def test_merging_keeps_order_and_loses_nothing(events: list[ProviderEvent | None], pause: float) -> None:
    async def run() -> list[ProviderEvent]:
        return await collected(EventBuffer(script([*events, GenerationFinished()], pause), 0.001))

    assert flat(asyncio.run(run())) == flat([*events, GenerationFinished()])


async def test_the_first_piece_does_not_wait_and_a_flood_is_merged() -> None:
    more = asyncio.Event()

    async def flood() -> AsyncGenerator[ProviderEvent, None]:
        yield Delta(text="first")
        await more.wait()
        for _ in range(1000):
            yield Delta(text="x")
            await asyncio.sleep(0)
        yield GenerationFinished()

    # Longer than the test may take: who waits for the window gets no first piece in time.
    buffer = EventBuffer(flood(), 60.0)
    assert await buffer.next(30.0) == Delta(text="first")
    more.set()
    rest = await collected(buffer)
    assert sum(len(event.text) for event in rest if isinstance(event, Delta)) == 1000
    assert len(rest) <= 10


async def test_an_end_does_not_wait_for_the_window() -> None:
    buffer = EventBuffer(script([Delta(text="a"), None, Delta(text="b"), GenerationFinished()]), 60.0)
    async with asyncio.timeout(30.0):
        assert len(await collected(buffer)) <= 3


async def test_a_failure_is_raised_after_all_events_before_it() -> None:
    async def failing() -> AsyncGenerator[ProviderEvent, None]:
        yield Delta(text="a")
        raise Unavailable("gone")

    buffer = EventBuffer(failing(), 0.005)
    assert await buffer.next(30.0) == Delta(text="a")
    with pytest.raises(Unavailable):
        await buffer.next(30.0)
    await buffer.close()


async def test_a_provider_without_a_final_event_is_an_internal_error() -> None:
    buffer = EventBuffer(script([]), 0.005)
    with pytest.raises(Internal):
        await buffer.next(30.0)
    await buffer.close()


async def test_silence_is_reported_and_loses_nothing() -> None:
    speaks = asyncio.Event()

    async def silent() -> AsyncGenerator[ProviderEvent, None]:
        await speaks.wait()
        yield Delta(text="late")
        yield GenerationFinished()

    buffer = EventBuffer(silent(), 0.0)
    assert await buffer.next(0.01) is None
    speaks.set()
    assert flat(await collected(buffer))[0] == (("text", False), "late")


async def test_a_slow_caller_stops_the_reading() -> None:
    produced = 0

    async def endless() -> AsyncGenerator[ProviderEvent, None]:
        nonlocal produced
        while True:
            produced += 1
            yield Delta(text="x" * 1024)

    buffer = EventBuffer(endless(), 0.0)
    await buffer.next(30.0)
    await asyncio.sleep(0)
    read = produced
    for _ in range(10):
        await asyncio.sleep(0)
    assert produced == read <= 200
    await buffer.close()


async def test_closing_ends_the_providers_work() -> None:
    ended = False

    async def endless() -> AsyncGenerator[ProviderEvent, None]:
        nonlocal ended
        try:
            await asyncio.Event().wait()
            yield Delta(text="never")
        finally:
            ended = True

    buffer = EventBuffer(endless(), 0.0)
    assert await buffer.next(0.01) is None
    await buffer.close()
    assert ended
