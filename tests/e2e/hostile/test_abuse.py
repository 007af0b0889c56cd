"""HTTP/2 misused: streams begun and reset by the thousand, floods of frames; each costs its own connection."""

import asyncio
from collections.abc import Callable

import hpack
import pytest
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from soma.model.v1.message_pb2 import ROLE_USER, Message
from soma.orchestrator.v1.chat_service_pb2 import ChatRequest

from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.hostile.footprint import peak_mib, serves
from tests.e2e.hostile.limits import GRACE_SECONDS
from tests.e2e.hostile.wire import Http2, deafen
from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack

CHAT = "/soma.orchestrator.v1.ChatService/Chat"
# As many as a client may send before somebody must have stopped it.
STREAMS, FRAMES = 20_000, 2_000_000
BATCH = 100
COST_MIB = 64
HEAD = ((":method", "GET"), (":scheme", "http"), (":authority", "mesh"), (":path", "/v1/usage"))


def turn() -> bytes:
    """A chat turn that goes on until somebody ends it."""
    return ChatRequest(model=MODEL, messages=[Message(role=ROLE_USER, content="go on")]).SerializeToString()


async def test_thousands_of_streams_begun_and_reset_end_the_connection_and_their_work(
    unscathed: Stack, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.05)
    peaks = peak_mib(unscathed, "serve"), peak_mib(unscathed, "envoy")
    async with Http2.open(unscathed) as connection, asyncio.timeout(GRACE_SECONDS):
        begun = 0
        while begun < STREAMS and not connection.closed.is_set():
            for _ in range(BATCH):
                connection.h2.reset_stream(connection.call(CHAT, turn()))
            begun += BATCH
            connection.flush()
            # Lets it hear of its end.
            await asyncio.sleep(0)
    assert begun < STREAMS
    async with asyncio.timeout(GRACE_SECONDS):
        await upstream.until(open=0)
    upstream.behaviour = Behaviour()
    await serves(unscathed)
    assert peak_mib(unscathed, "serve") - peaks[0] < COST_MIB
    assert peak_mib(unscathed, "envoy") - peaks[1] < COST_MIB


async def test_work_that_had_begun_ends_with_the_reset_of_its_stream(unscathed: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.05)
    async with Http2.open(unscathed) as connection, asyncio.timeout(GRACE_SECONDS):
        for _ in range(3):
            streams = [connection.call(CHAT, turn()) for _ in range(20)]
            connection.flush()
            await upstream.until(open=20)
            for stream in streams:
                connection.h2.reset_stream(stream)
            connection.flush()
            await upstream.until(open=0)
        assert not connection.closed.is_set()
    assert upstream.left == 60


def pings() -> list[Frame]:
    """Each is to be answered."""
    return [PingFrame(0, opaque_data=b"12345678")] * BATCH


def settings() -> list[Frame]:
    """Each is to be acknowledged."""
    return [SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65535})] * BATCH


def continuations() -> list[Frame]:
    """Headers that never end: of a kilobyte each, all of them to be kept."""
    encoder = hpack.Encoder()
    return [ContinuationFrame(1, data=encoder.encode([(f"x-{number}", "1" * 1000)])) for number in range(BATCH)]


def empty_continuations() -> list[Frame]:
    """Of nothing each."""
    return [ContinuationFrame(1)] * BATCH


def empty_data() -> list[Frame]:
    """A body of nothing, again and again."""
    return [DataFrame(1)] * BATCH


def priorities() -> list[Frame]:
    """A stream's priority, changed all the time."""
    return [PriorityFrame(1, depends_on=0, stream_weight=1)] * BATCH


def window_updates() -> list[Frame]:
    """Room for answers nobody sends."""
    return [WindowUpdateFrame(0, window_increment=1)] * BATCH


FLOODS = {
    "PING": ([], pings),
    "SETTINGS": ([], settings),
    "CONTINUATION": ([HeadersFrame(1, data=hpack.Encoder().encode(HEAD))], continuations),
    "empty CONTINUATION": ([HeadersFrame(1, data=hpack.Encoder().encode(HEAD))], empty_continuations),
    "empty DATA": ([HeadersFrame(1, data=hpack.Encoder().encode(HEAD), flags=["END_HEADERS"])], empty_data),
    "PRIORITY": ([HeadersFrame(1, data=hpack.Encoder().encode(HEAD), flags=["END_HEADERS"])], priorities),
    "WINDOW_UPDATE": ([], window_updates),
}


@pytest.mark.parametrize(("first", "more"), FLOODS.values(), ids=FLOODS.keys())
async def test_a_flood_of_frames_ends_its_connection_and_nobody_elses(
    unscathed: Stack, first: list[Frame], more: Callable[[], list[Frame]]
) -> None:
    peaks = peak_mib(unscathed, "serve"), peak_mib(unscathed, "envoy")
    _, writer = await asyncio.open_connection("127.0.0.1", unscathed.port)
    # Nothing of what it causes is read.
    deafen(writer)
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize())
    writer.write(b"".join(frame.serialize() for frame in first))
    flood = b"".join(frame.serialize() for frame in more())
    sent = 0
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            while sent < FRAMES and not writer.transport.is_closing():
                writer.write(flood)
                await writer.drain()
                sent += BATCH
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    assert sent < FRAMES
    await serves(unscathed)
    assert peak_mib(unscathed, "serve") - peaks[0] < COST_MIB
    assert peak_mib(unscathed, "envoy") - peaks[1] < COST_MIB
