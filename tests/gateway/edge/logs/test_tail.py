"""What a client receives of the log while the orchestrator or Redis is unavailable."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
import redis.asyncio as aioredis
from soma.orchestrator.v1 import log_service_pb2 as pb
from soma.orchestrator.v1 import log_service_pb2_grpc as rpc

from gateway.edge.logs import tail
from gateway.edge.logs.filters import Filters
from gateway.edge.logs.tail import Tails
from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.testing.local import SOMEBODY, LocalMesh
from services.mesh.transport.routed import RoutedChannel
from tests.gateway.edge.logs.conftest import Stand
from tests.servers import RedisServer


class Restarting(rpc.LogServiceServicer):
    """Sends one entry and then fails with `failure`; the second call sends no entry."""

    def __init__(self, failure: errors.MeshError) -> None:
        self.asked: list[str] = []
        self._failure = failure

    async def TailLogs(self, request: pb.TailLogsRequest, context: Any) -> AsyncIterator[pb.TailLogsResponse]:
        self.asked.append(request.after)
        yield pb.TailLogsResponse(started=pb.TailStarted(after=request.after or "5-0"))
        number = len(self.asked)
        if number != 2:
            yield pb.TailLogsResponse(entry=pb.LogEntry(id=f"{number * 10}-0", message=str(number)))
        raise self._failure


async def test_a_tail_continues_after_its_last_entry_when_the_orchestrator_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tail, "RETRY_SECONDS", 0.01)
    servicer = Restarting(errors.Unavailable("the process is stopping", reason="DRAINING"))  # type: ignore[abstract]  # what a tail asks
    received = []
    async with _tailing(servicer) as messages:
        async for message in messages:
            received.append(message["data"]["message"])
            if len(received) == 3:
                break
    assert received == ["1", "3", "4"]
    assert servicer.asked == ["", "10-0", "10-0", "30-0"]


async def test_a_permanent_error_ends_a_tail() -> None:
    servicer = Restarting(errors.PermissionDenied("no"))  # type: ignore[abstract]  # what a tail asks
    async with _tailing(servicer) as messages:
        assert (await anext(messages))["data"]["message"] == "1"
        with pytest.raises(errors.MeshError) as failure:
            await anext(messages)
    assert failure.value.code is errors.Code.PERMISSION_DENIED
    assert len(servicer.asked) == 1


@asynccontextmanager
async def _tailing(servicer: Restarting) -> AsyncIterator[AsyncGenerator[dict[str, Any], None]]:
    mesh = LocalMesh(((rpc.add_LogServiceServicer_to_server, servicer),))
    with run_as(SOMEBODY):
        logs = rpc.LogServiceStub(RoutedChannel(lambda: mesh.channel))
        async with asyncio.timeout(10), aclosing(Tails(logs).messages(Filters())) as received:
            yield received
    await mesh.channel.close()


async def test_without_redis_a_connection_is_closed_with_1013(
    stand: Stand, redis_server: RedisServer, redis: aioredis.Redis
) -> None:
    await redis_server.stop()
    async with stand.socket() as client:
        ended = await client.ended()
    await redis_server.start()
    assert ended[0] == 1013


async def test_a_connection_stays_open_while_redis_is_unavailable(
    stand: Stand, redis_server: RedisServer, redis: aioredis.Redis
) -> None:
    async with stand.socket() as client:
        await client.hear()
        await redis_server.stop()
        await client.say({"type": "ping"})
        assert (await client.hear())["type"] == "pong"
        await redis_server.start()
        await stand.write("after")
        assert (await client.hear())["data"]["message"] == "after"
