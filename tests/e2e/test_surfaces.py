"""A surface of another process joins and leaves the gateway, and the edge is not disturbed."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from soma.mesh.v1.registry_service_pb2 import Instance
from soma.mesh.v1.surface_pb2 import Surface
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.surfaces import MAX_SURFACES
from services.mesh.call.token import Signer
from services.mesh.process.keys import read_key
from services.mesh.process.registry.membership import Membership
from services.mesh.testing.waiting import until
from services.mesh.transport.directory import Directory
from services.mesh.transport.remote.channel import RemoteChannel
from tests.e2e.stack import Stack
from tests.e2e.test_logs import hear, socket
from tests.ports import free_port

PAUSE = 0.02


async def answers(http: httpx.AsyncClient, path: str, status: int) -> None:
    """Wait until a path is answered with this status."""

    async def answered() -> bool:
        return (await http.get(path)).status_code == status

    await until(answered, seconds=30)


@asynccontextmanager
async def untouched(stack: Stack) -> AsyncIterator[list[int]]:
    """During the block, requests to OpenAI's API and an open WebSocket must not be disturbed."""
    statuses: list[int] = []

    async def ask() -> None:
        async with stack.http() as http:
            while True:
                statuses.append((await http.get("/v1/models")).status_code)
                await asyncio.sleep(PAUSE)

    async with socket(stack, "") as held:
        assert (await hear(held))["type"] == "connected"
        asking = asyncio.create_task(ask())
        try:
            yield statuses
        finally:
            asking.cancel()
            (ended,) = await asyncio.gather(asking, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended
        await held.send('{"type":"ping"}')
        assert (await hear(held, "pong"))["type"] == "pong"
    assert set(statuses) == {200}


def oops(why: str, reason: str, number: int, kind: str) -> dict[str, object]:
    """An error of the surface."""
    return {"oops": {"why": why, "reason": reason, "number": number, "kind": kind}}


AWAY = oops("testing has no live instance", "NO_LIVE_INSTANCE", 503, "ours")


async def test_a_surface_of_another_process_is_served_removed_and_remembered(split: Stack) -> None:
    say, url = "/testing/say/hello/there", f"{split.url.replace('http', 'ws', 1)}/testing/echo"
    async with untouched(split) as statuses:
        async with split.http() as http, split.serving("testing") as process:
            await answers(http, say, 200)
            assert (await http.post(say)).text == "POST hello/there"
            assert (await http.get("/testing/seen?token=secret", headers={"authorization": ""})).status_code == 200
            failed = await http.get("/testing/fail")
            assert (failed.status_code, failed.json()) == (400, oops("as you asked", "INVALID_VALUE", 400, "yours"))
            unknown = await http.get("/testing/nothing")
            expected = oops("/testing/nothing is 100% unknown", "NO_SUCH_PATH", 404, "yours")
            assert (unknown.status_code, unknown.json()) == (404, expected)
            async with connect(url) as connection:
                await connection.send("over the wire")
                assert await connection.recv() == "over the wire"
                process.kill()
                with pytest.raises(ConnectionClosed):
                    async with asyncio.timeout(10):
                        await connection.recv()
        async with split.http() as http:
            await answers(http, say, 503)

            async def away() -> bool:
                reply = await http.get(say)
                return (reply.status_code, reply.json()) == (503, AWAY)

            # Until its lease ends, the instance is known and cannot be reached.
            await until(away)
            with pytest.raises(InvalidStatus) as refused:
                await connect(url)
            assert refused.value.response.status_code == 503
        async with split.http() as http, split.serving("testing"):
            await answers(http, say, 200)
    assert len(statuses) > 10
    kept = json.loads((split.data_dir / "envoy" / "surfaces.json").read_text())["surfaces"]
    assert {each["name"] for each in kept} == {"openai", "anthropic", "logs", "testing"}
    await split.down()
    await split.up()
    async with split.http() as http:
        assert (await http.get("/v1/models")).status_code == 200
        reply = await http.get(say)
        assert (reply.status_code, reply.json()) == (503, AWAY)
        assert (await http.get("/testing/nothing")).status_code == 404
    async with untouched(split), split.http() as http, split.serving("testing"):
        await answers(http, say, 200)


def announcing(address: str, *surfaces: Surface) -> Instance:
    """An instance of a service `stranger` that announces these surfaces."""
    return Instance(
        instance_id=str(uuid.uuid4()),
        services=["stranger"],
        http_addresses={"stranger": address},
        surfaces=surfaces,
    )


def surface(name: str, *paths: str) -> Surface:
    """A surface of the service `stranger`."""
    return Surface(service="stranger", name=name, paths=paths)


@asynccontextmanager
async def joined(stack: Stack, announced: Instance) -> AsyncIterator[Membership]:
    """A member of the stack that announces an instance; it leaves at the end."""
    signer = Signer(read_key(stack.data_dir / "internal.key").encode(), announced.instance_id)
    where = stack.part("control").where
    assert where is not None
    membership = Membership(lambda: RemoteChannel(where), announced, dict, Directory(), signer)
    try:
        await membership.join()
        yield membership
    finally:
        await membership.leave()


async def test_invalid_announcements_are_refused_and_others_are_not(split: Stack) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    bad = [
        surface("models", "/v1/models/{id}"),
        surface("contract", "/v1/remember"),
        surface("page", "/docs/page.js"),
        surface("regex", "/stranger/[a-z]+"),
        surface("everything", "/{rest=**}"),
    ]
    good = surface("good", "/stranger/good")
    many = [surface(f"many-{number}", f"/stranger/{number}") for number in range(MAX_SURFACES)]
    async with untouched(split), split.http() as http:
        async with joined(split, announcing(nowhere, *bad, good)) as membership:
            reasons = ["SURFACE_TAKEN"] * 3 + ["SURFACE_INVALID"] * 2
            await refused(membership, dict(zip([each.name for each in bad], reasons, strict=True)))
            await answers(http, "/stranger/good", 503)
            assert (await http.get("/stranger/good")).json()["error"]["code"] == 503
            assert (await http.get("/stranger/abc")).status_code == 404
        async with joined(split, announcing(nowhere, *many)) as membership:

            async def full() -> bool:
                return {each.reason for each in membership.refused} == {"SURFACES_FULL"}

            await until(full)
            served = MAX_SURFACES - len(membership.refused)
            await answers(http, f"/stranger/{served - 1}", 503)
            assert (await http.get(f"/stranger/{MAX_SURFACES - 1}")).status_code == 404
    # The service runs, and no longer has these surfaces.
    async with split.http() as http, joined(split, announcing(nowhere)):
        await answers(http, "/stranger/0", 404)


async def refused(membership: Membership, reasons: dict[str, str]) -> None:
    """Wait until a member learns that these surfaces are refused, with these reasons."""

    async def reported() -> bool:
        return {each.name: each.reason for each in membership.refused} == reasons

    await until(reported)


async def test_an_instance_whose_address_is_a_name_is_refused_and_others_still_join_and_leave(split: Stack) -> None:
    announced = announcing("stranger.example:80", surface("good", "/stranger/named"))
    async with untouched(split), split.http() as http:
        joining = asyncio.create_task(hold(split, announced))
        log = split.data_dir / "logs" / "control.log"

        async def reported() -> bool:
            return "ADDRESS_NOT_IP" in log.read_text()

        await until(reported)
        async with joined(split, announcing(f"127.0.0.1:{free_port()}", surface("late", "/stranger/late"))):
            await answers(http, "/stranger/late", 503)
            assert (await http.get("/stranger/named")).status_code == 404
        joining.cancel()
        (ended,) = await asyncio.gather(joining, return_exceptions=True)
        assert isinstance(ended, asyncio.CancelledError), ended
        async with joined(split, announcing(f"127.0.0.1:{free_port()}")):
            await answers(http, "/stranger/late", 404)


async def hold(stack: Stack, announced: Instance) -> None:
    """Try to be a member."""
    async with joined(stack, announced):
        await asyncio.Event().wait()
