"""Misuse of HTTP/2: thousands of reset streams, and floods of frames. Each ends only its own connection."""

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
from tests.e2e.hostile.wire import Http2, stop_reading
from tests.e2e.scripted import MODEL
from tests.e2e.stack import Stack

CHAT = "/soma.orchestrator.v1.ChatService/Chat"
# A client must be stopped before it has sent this many.
STREAMS, FRAMES = 20_000, 2_000_000
BATCH = 100
COST_MIB = 64
HEAD = ((":method", "GET"), (":scheme", "http"), (":authority", "mesh"), (":path", "/v1/usage"))


def turn() -> bytes:
    """A chat turn whose answer does not end by itself."""
    return ChatRequest(model=MODEL, messages=[Message(role=ROLE_USER, content="go on")]).SerializeToString()


async def test_a_connection_that_resets_thousands_of_streams_is_closed_and_their_work_ends(
    checked: Stack, upstream: FakeUpstream
) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.05)
    peaks = peak_mib(checked, "serve"), peak_mib(checked, "envoy")
    async with Http2.open(checked) as connection, asyncio.timeout(GRACE_SECONDS):
        begun = 0
        while begun < STREAMS and not connection.closed.is_set():
            for _ in range(BATCH):
                connection.h2.reset_stream(connection.call(CHAT, turn()))
            begun += BATCH
            connection.flush()
            # Let the connection read that it was closed.
            await asyncio.sleep(0)
    assert begun < STREAMS
    async with asyncio.timeout(GRACE_SECONDS):
        await upstream.until(open=0)
    upstream.behaviour = Behaviour()
    await serves(checked)
    assert peak_mib(checked, "serve") - peaks[0] < COST_MIB
    assert peak_mib(checked, "envoy") - peaks[1] < COST_MIB


async def test_work_that_had_begun_ends_with_the_reset_of_its_stream(checked: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(deltas=["x "] * 1000, pause=0.05)
    async with Http2.open(checked) as connection, asyncio.timeout(GRACE_SECONDS):
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
    """PING frames, each of which must be answered."""
    return [PingFrame(0, opaque_data=b"12345678")] * BATCH


def settings() -> list[Frame]:
    """SETTINGS frames, each of which must be acknowledged."""
    return [SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 65535})] * BATCH


def continuations() -> list[Frame]:
    """Headers without an end, of a kilobyte each, which the server must store."""
    encoder = hpack.Encoder()
    return [ContinuationFrame(1, data=encoder.encode([(f"x-{number}", "1" * 1000)])) for number in range(BATCH)]


def empty_continuations() -> list[Frame]:
    """Empty CONTINUATION frames."""
    return [ContinuationFrame(1)] * BATCH


def empty_data() -> list[Frame]:
    """Empty DATA frames."""
    return [DataFrame(1)] * BATCH


def priorities() -> list[Frame]:
    """Changes of a stream's priority."""
    return [PriorityFrame(1, depends_on=0, stream_weight=1)] * BATCH


def window_updates() -> list[Frame]:
    """WINDOW_UPDATE frames, although no answer needs room."""
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
async def test_a_flood_of_frames_ends_only_its_own_connection(
    checked: Stack, first: list[Frame], more: Callable[[], list[Frame]]
) -> None:
    peaks = peak_mib(checked, "serve"), peak_mib(checked, "envoy")
    _, writer = await asyncio.open_connection("127.0.0.1", checked.port)
    # The client reads no answers.
    stop_reading(writer)
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
    await serves(checked)
    assert peak_mib(checked, "serve") - peaks[0] < COST_MIB
    assert peak_mib(checked, "envoy") - peaks[1] < COST_MIB
