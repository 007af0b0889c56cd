"""How configuration reaches a real Envoy: changes of endpoints, refusals, and restarts of either side."""

import asyncio
import dataclasses

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from gateway.contracts import area, descriptor_set, public_services
from gateway.xds import resources
from tests.gateway.backends import Echo, dead, edge, hanging_up, serving
from tests.gateway.conftest import DESCRIPTORS, ECHO, Gateway
from tests.gateway.xds.test_native import reason_of
from tests.gateway.xds.test_rest import PATH, error_of

OTHER = "soma.other.v1.OtherService"


def descriptors_envoy_refuses() -> bytes:
    """A descriptor set with a service whose messages are missing."""
    broken = FileDescriptorSet.FromString(DESCRIPTORS)
    for file in broken.file:
        if file.package == "soma.testing.v1":
            del file.message_type[:]
    return broken.SerializeToString()


async def test_a_service_without_an_instance_is_unavailable_with_its_name(envoy: Gateway) -> None:
    stub = rpc.EchoServiceStub(envoy.channel)
    with pytest.raises(grpc.aio.AioRpcError) as native:
        await stub.Echo(pb.EchoRequest(text="a"))
    rest = await envoy.http.post(PATH, json={"text": "a"})
    assert native.value.code() is grpc.StatusCode.UNAVAILABLE
    assert native.value.details() == "testing has no live instance"
    assert reason_of(native.value) == "NO_LIVE_INSTANCE"
    assert rest.status_code == 503
    error = error_of(rest)
    assert error["status"] == "UNAVAILABLE"
    assert error["message"] == "testing has no live instance"
    assert error["details"][0]["reason"] == "NO_LIVE_INSTANCE"
    assert error["details"][0]["metadata"] == {"service": "testing"}


async def test_an_instance_that_died_before_its_lease_ended_is_unavailable_with_a_reason(envoy: Gateway) -> None:
    with dead() as gone:
        async with hanging_up() as dying:
            for where in (gone, dying):
                await envoy.publish(services={ECHO: (where,)})
                with pytest.raises(grpc.aio.AioRpcError) as native:
                    await rpc.EchoServiceStub(envoy.channel).Echo(pb.EchoRequest(text="a"))
                rest = await envoy.http.post(PATH, json={"text": "a"})
                assert native.value.code() is grpc.StatusCode.UNAVAILABLE
                assert reason_of(native.value) == "INSTANCE_LOST"
                assert rest.status_code == 503
                assert error_of(rest)["details"][0]["reason"] == "INSTANCE_LOST"


async def test_the_edge_without_an_instance_is_unavailable_in_openais_shape(envoy: Gateway) -> None:
    for path in ("/v1/models", "/v1/chat/completions?x=1"):
        reply = await envoy.http.get(path)
        assert reply.status_code == 503
        message = {"message": "edge has no live instance", "type": "server_error", "param": None}
        assert reply.json() == {"error": {**message, "code": "no_live_instance"}}


async def test_a_call_goes_to_a_live_instance_when_another_one_is_dead(envoy: Gateway) -> None:
    async with serving(Echo()) as live:
        with dead() as gone:
            await envoy.publish(services={ECHO: (gone, live)})
            replies = [await envoy.http.post(PATH, json={"text": "a"}) for _ in range(10)]
    assert [reply.text for reply in replies if reply.status_code != 200] == []


async def test_a_request_to_a_surface_goes_to_a_live_instance_when_another_one_is_dead(envoy: Gateway) -> None:
    async with edge("/v1/chat/completions") as live:
        with dead() as gone:
            await envoy.publish(http={"edge": (gone, live)})
            replies = await asyncio.gather(*(envoy.http.post("/v1/chat/completions", json={}) for _ in range(50)))
    assert [reply.text for reply in replies if reply.status_code != 200] == []


async def test_of_many_calls_at_once_none_fails_because_an_instance_is_dead(envoy: Gateway) -> None:
    async with serving(Echo()) as live:
        with dead() as gone:
            await envoy.publish(services={ECHO: (gone, live)})
            replies = await asyncio.gather(*(envoy.http.post(PATH, json={"text": "a"}) for _ in range(100)))
    assert [reply.text for reply in replies if reply.status_code != 200] == []


async def test_endpoints_reach_envoy_within_a_second_and_streams_survive_them(envoy: Gateway) -> None:
    first, second = Echo("first "), Echo("second ")
    async with serving(first) as old, serving(second) as new:
        await envoy.publish(services={ECHO: (old,)})
        stub = rpc.EchoServiceStub(envoy.channel)
        chat = stub.ChatEchoes()
        await chat.write(pb.ChatEchoesRequest(text="a"))
        before = await chat.read()
        snapshot = dataclasses.replace(envoy.snapshot, services={ECHO: (new,)})
        await envoy.xds.publish(snapshot)
        await envoy.until(lambda state: state.settled(), within=1)
        moved = await stub.Echo(pb.EchoRequest(text="b"))
        await envoy.publish(services={ECHO: (), OTHER: ()})
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Echo(pb.EchoRequest(text="c"))
        await chat.write(pb.ChatEchoesRequest(text="d"))
        after = await chat.read()
        chat.cancel()
    assert isinstance(before, pb.ChatEchoesResponse)
    assert isinstance(after, pb.ChatEchoesResponse)
    assert before.text == "first a"
    assert moved.text == "second b"
    assert after.text == "first d"


async def test_a_new_service_gets_its_route_without_a_new_listener(envoy: Gateway) -> None:
    go: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = envoy.channel.unary_unary(f"/{OTHER}/Go")
    with pytest.raises(grpc.aio.AioRpcError) as unknown:
        await go(b"")
    listener = resources.configuration(envoy.snapshot).types[resources.LISTENER]
    await envoy.publish(services={ECHO: (), OTHER: ()})
    with pytest.raises(grpc.aio.AioRpcError) as known:
        await go(b"")
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert known.value.code() is grpc.StatusCode.UNAVAILABLE
    assert known.value.details() == "other has no live instance"
    assert resources.configuration(envoy.snapshot).types[resources.LISTENER] == listener


async def test_after_a_refused_configuration_the_old_one_serves_and_endpoints_still_change(
    envoy: Gateway,
) -> None:
    async with serving(Echo("old ")) as old, serving(Echo("new ")) as new:
        await envoy.publish(services={ECHO: (old,)})
        good = envoy.xds.state().versions[resources.LISTENER]
        await envoy.publish(descriptor_set=descriptors_envoy_refuses())
        await envoy.until(lambda state: state.nodes["test"].nacks == 1)
        kept = await envoy.http.post(PATH, json={"text": "a"})
        await envoy.publish(services={ECHO: (new,)})
        moved = await envoy.http.post(PATH, json={"text": "a"})
        state = envoy.xds.state()
    assert kept.json()["text"] == "old a"
    assert moved.json()["text"] == "new a"
    assert state.fallen_back
    assert state.versions[resources.LISTENER] == good
    assert state.nodes["test"].nacks == 1
    assert resources.LISTENER in str(state.nodes["test"].nack)


async def test_a_new_envoy_gets_the_last_good_configuration_and_a_better_one_replaces_it(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)}, descriptor_set=descriptors_envoy_refuses())
        await envoy.until(lambda state: state.fallen_back)
        await envoy.stop_envoy()
        await envoy.until(lambda state: state.nodes["test"].streams == 0)
        await envoy.start_envoy()
        await envoy.until(lambda state: state.settled())
        await envoy.reachable()
        restarted = await envoy.http.post(PATH, json={"text": "a"})
        limits = dataclasses.replace(envoy.snapshot.limits, max_request_bytes=100)
        await envoy.publish(descriptor_set=DESCRIPTORS, limits=limits)
        better = await envoy.http.post(PATH, json={"text": "a" * 200})
    assert restarted.status_code == 200
    assert better.status_code == 413
    assert not envoy.xds.state().fallen_back


async def test_envoy_accepts_the_contracts_of_the_product_and_knows_every_offered_service(envoy: Gateway) -> None:
    names = public_services()
    await envoy.publish(services=dict.fromkeys(names, ()), descriptor_set=descriptor_set())
    for name in names:
        go: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = envoy.channel.unary_unary(f"/{name}/Go")
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await go(b"")
        assert failure.value.details() == f"{area(name)} has no live instance"
    assert envoy.xds.state().nodes["test"].nacks == 0
    assert names


async def test_a_restarted_envoy_fetches_everything_again(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        await envoy.stop_envoy()
        await envoy.until(lambda state: state.nodes["test"].streams == 0)
        await envoy.start_envoy()
        await envoy.until(lambda state: state.settled())
        await envoy.reachable()
        reply = await envoy.http.post(PATH, json={"text": "a"})
    assert reply.status_code == 200


async def test_traffic_goes_on_without_a_control_plane_and_changes_arrive_when_it_is_back(
    envoy: Gateway,
) -> None:
    async with serving(Echo("old ")) as old, serving(Echo("new ")) as new:
        await envoy.publish(services={ECHO: (old,)})
        await envoy.xds.stop()
        alone = await envoy.http.post(PATH, json={"text": "a"})
        await envoy.start_control_plane()
        await envoy.publish(services={ECHO: (new,)})
        followed = await envoy.http.post(PATH, json={"text": "a"})
    assert alone.json()["text"] == "old a"
    assert followed.json()["text"] == "new a"


async def test_the_first_configuration_is_tried_again_when_it_was_refused(envoy: Gateway) -> None:
    """The usual case is a port in use. There is no accepted configuration to fall back to."""
    await envoy.stop_envoy()
    await envoy.xds.stop()
    taken = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", envoy.port)
    await envoy.start_control_plane()
    await envoy.xds.publish(envoy.snapshot)
    await envoy.start_envoy()
    await envoy.until(lambda state: "test" in state.nodes and state.nodes["test"].nacks > 0)
    taken.close()
    await taken.wait_closed()
    await envoy.publish()
    await envoy.reachable()
    assert (await envoy.http.post(PATH, json={"text": "a"})).status_code == 503
