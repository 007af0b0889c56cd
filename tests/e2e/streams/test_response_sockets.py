"""WebSockets for responses while their process stops or dies: no part of an answer is taken for the whole."""

import asyncio

import pytest
from websockets.exceptions import ConnectionClosed

from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.response_socket import answer_of, response_socket
from tests.e2e.stack import Stack
from tests.e2e.streams.conftest import WORKERS
from tests.e2e.streams.test_stopped import drains


async def test_an_answer_that_ends_within_the_grace_time_is_complete_and_then_the_connection_closes(
    pair: Stack, upstream: FakeUpstream
) -> None:
    enough = asyncio.Event()
    upstream.behaviour = Behaviour(until=enough, pause=0.05)
    before = drains(pair)
    async with response_socket(pair) as client, response_socket(pair) as silent:
        await client.create()
        await client.event("response.output_text.delta")
        stopping = asyncio.create_task(pair.down())

        async def draining() -> bool:
            return drains(pair) > before

        await until(draining)
        enough.set()
        last = await client.last()
        assert (last["type"], answer_of(last)[-7:]) == ("response.completed", " there!")
        for each in (client, silent):
            with pytest.raises(ConnectionClosed) as closed:
                await each.event()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012
        await stopping


async def test_a_longer_answer_ends_as_failed(pair: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(until=asyncio.Event(), pause=0.05)
    async with response_socket(pair) as client:
        await client.create()
        await client.event("response.output_text.delta")
        await pair.down()
        assert (await client.last())["type"] == "response.failed"
        with pytest.raises(ConnectionClosed) as closed:
            await client.event()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


async def test_an_answer_whose_process_dies_has_no_last_event(pair: Stack, upstream: FakeUpstream) -> None:
    upstream.behaviour = Behaviour(until=asyncio.Event(), pause=0.05)
    async with response_socket(pair) as client:
        await client.create()
        await client.event("response.output_text.delta")
        killed = {name: pair.kill(name) for name in WORKERS}
        with pytest.raises(ConnectionClosed):
            await client.last()
    for name, pid in killed.items():
        await pair.restarted(name, pid)
