"""Changes of the gateway's configuration do not cut answers that are streamed."""

import asyncio
from collections.abc import Sequence

from cli.parts.envoy import LONGEST_STREAM_SECONDS
from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.counts import mesh_parts
from tests.e2e.stack import Stack
from tests.e2e.streams import logs
from tests.e2e.streams.conftest import echoes
from tests.e2e.streams.held import HeldStream, holding
from tests.e2e.streams.reader import Ask
from tests.e2e.streams.surfaces import ECHOES, STREAMED

EACH = 3
FOLLOWERS = {"WebSocket": logs.socket, "tail": logs.tail}


async def joined(stack: Stack, processes: int) -> None:
    """Wait until the mesh has this number of serve processes."""

    async def known() -> bool:
        async with stack.http() as http:
            return (await http.get("/metrics")).text.count("\nsoma_mesh_tasks{") == processes

    await until(known, seconds=30)


async def go_on(held: Sequence[HeldStream]) -> None:
    """Wait until each answer has grown; streams of the log must only be open."""
    for client in held:
        if client.name not in FOLLOWERS:
            await client.more()
        assert client.open, (client.name, await client.ended())


async def test_streams_outlive_services_that_come_and_go_and_workers_that_are_scaled(
    pair: Stack, upstream: FakeUpstream
) -> None:
    enough = asyncio.Event()
    upstream.behaviour = Behaviour(until=enough, pause=0.1)
    own = sum(name.startswith("serve") for name in mesh_parts(pair))
    asks = {"tail": Ask(conversation="nobody's task"), "bidi": Ask(until=enough)}
    async with holding(pair, {**STREAMED, **FOLLOWERS}, asks, each=EACH) as held:
        # A service that is new to the mesh changes the routes, the transcoder and so the listener.
        async with pair.serving("testing"):
            await echoes(pair)
            await go_on(held)
            async with holding(pair, ECHOES, asks, each=EACH) as talks:
                # More processes for the same routes, and then fewer.
                async with pair.serving("policy", "memory", "orchestrator"), pair.serving("edge", "policy"):
                    await joined(pair, own + 3)
                    await go_on([*held, *talks])
                await joined(pair, own + 1)
                await go_on([*held, *talks])
                enough.set()
                endings = [(each.name, await each.ended()) for each in (*held, *talks) if each.name not in FOLLOWERS]
            enough.clear()
        await joined(pair, own)
        assert all(client.open for client in held if client.name in FOLLOWERS)
    assert [(name, ending) for name, ending in endings if not ending.finished] == []


async def test_a_connection_may_stay_open_for_a_day_after_the_listener_changed(pair: Stack) -> None:
    """Envoy closes the connection at the end of its drain time, which is ten minutes by default."""
    command = pair.process("envoy").cmdline()
    assert int(command[command.index("--drain-time-s") + 1]) == LONGEST_STREAM_SECONDS


async def test_a_client_reaches_a_new_service_over_its_old_connection(pair: Stack) -> None:
    async with pair.http() as http:
        assert (await http.get("/v1/models")).status_code == 200
        async with pair.serving("testing"):

            async def answered() -> bool:
                return (await http.post("/v1/testing/echo", json={"text": "a"})).status_code == 200

            await until(answered, seconds=30)
