"""`kill -9` of a process that sends answers: clients get a typed error if possible, and always notice the end."""

import asyncio
from collections.abc import Mapping

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.counts import Counts
from tests.e2e.stack import Stack
from tests.e2e.streams import logs
from tests.e2e.streams.conftest import MODEL_PROCESS, WORKERS
from tests.e2e.streams.ending import Ending
from tests.e2e.streams.held import holding
from tests.e2e.streams.reader import Ask
from tests.e2e.streams.surfaces import STREAMED

EACH = 3
# What a client raises when the gateway can only break off an answer that has begun.
BREAKS: Mapping[str, str] = {
    "native chat": "AioRpcError",
    "native generation": "AioRpcError",
    "REST chat": "RemoteProtocolError",
    "REST generation": "RemoteProtocolError",
    "grpc-web": "RemoteProtocolError",
    "OpenAI completion streamed": "APIConnectionError",
    "OpenAI response streamed": "APIConnectionError",
    "Python client": "UnavailableError",
    "WebSocket": "ConnectionClosedError",
    "tail": "RemoteProtocolError",
}
# Status and reason when the process behind the one that answers has died.
LOST: Mapping[str, tuple[int | str, str]] = {
    "native chat": ("UNAVAILABLE", "INSTANCE_LOST"),
    "REST chat": (200, "INSTANCE_LOST"),
    "grpc-web": ("UNAVAILABLE", "INSTANCE_LOST"),
    "OpenAI completion streamed": (200, "INSTANCE_LOST"),
    "OpenAI response streamed": (200, "INSTANCE_LOST"),
    "Python client": ("UNAVAILABLE", "INSTANCE_LOST"),
}


def broke_off(name: str, ending: Ending) -> bool:
    """Whether a client noticed that its answer was cut."""
    return not ending.finished and (ending.reason, ending.raised) == ("", BREAKS[name])


async def test_the_answers_of_a_killed_worker_break_off_and_those_of_the_other_go_on(
    pair: Stack, upstream: FakeUpstream
) -> None:
    enough = asyncio.Event()
    upstream.behaviour = Behaviour(until=enough, pause=0.1)
    readers = {**STREAMED, "WebSocket": logs.socket, "tail": logs.tail}
    asks = {"tail": Ask(conversation="nobody's task")}
    # Pools keep connections that were opened for many answers at the same time.
    async with holding(pair, readers, asks, each=EACH) as held:
        enough.set()
        for client in held:
            if client.name in STREAMED:
                assert (await client.ended()).finished
    enough.clear()
    resting = await Counts.of(pair)
    async with holding(pair, readers, asks, each=EACH) as held:
        killed = pair.kill(WORKERS[0])

        async def cut() -> bool:
            return any(not client.open for client in held)

        await until(cut)
        await pair.restarted(WORKERS[0], killed)
        enough.set()
        # Streams of the log do not end by themselves.
        ended = [client for client in held if client.name in STREAMED or not client.open]
        endings = [(client.name, await client.ended()) for client in ended]
    finished = [name for name, ending in endings if ending.finished]
    broken = [name for name, ending in endings if broke_off(name, ending)]
    assert finished
    assert broken
    assert len(finished) + len(broken) == len(endings), endings
    await upstream.until(open=0)
    await resting.restored(pair)


async def test_when_the_model_service_is_killed_every_surface_reports_it(pair: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(until=asyncio.Event(), pause=0.1)
    async with holding(pair, STREAMED) as held:
        killed = pair.kill(MODEL_PROCESS)
        endings = {client.name: await client.ended() for client in held}
        await pair.restarted(MODEL_PROCESS, killed)
    told = {name: (ending.status, ending.reason) for name, ending in endings.items() if name in LOST}
    assert told == LOST
    # These were answers of the killed process.
    assert all(broke_off(name, ending) for name, ending in endings.items() if name not in LOST), endings
