"""The gateway's own answers: pages, reflection, health, and refusals of unknown paths."""

import re
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from soma.testing.v1.echo_service_pb2 import EchoRequest
from soma.testing.v1.echo_service_pb2_grpc import EchoServiceStub

from cli.reflection import Reflection
from gateway.pages import PATHS
from gateway.reference import PAGES
from services.mesh.call.status import from_rpc_error
from services.mesh.testing.waiting import until
from tests.e2e.contracts import BINDINGS, SERVICES
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import over_grpc


async def test_health_and_ready_name_every_service(http: httpx.AsyncClient) -> None:
    for prefix in ("", "/api/v1"):
        health = await http.get(f"{prefix}/health")
        assert (health.status_code, health.json()["status"]) == (200, "healthy")
        assert health.json().keys() == {"status", "app_name", "version", "timestamp"}
        ready = await http.get(f"{prefix}/ready")
        assert ready.status_code == 200
        services = dict.fromkeys(("edge", "identity", "memory", "model", "orchestrator", "policy"), "ok")
        checks = dict.fromkeys(("database", "redis", "llm"), "healthy")
        assert ready.json() == {"status": "ready", "ready": True, "checks": checks, "services": services}
        for page in ("health", "ready"):
            head = await http.head(f"{prefix}/{page}")
            assert (head.status_code, head.content) == (200, b"")


async def test_metrics_count_every_call_with_the_process_that_served_it(
    stack: Stack, http: httpx.AsyncClient, channel: grpc.aio.Channel
) -> None:
    # Each turn reads the answer to its end, because otherwise it would be counted as cancelled.
    chat, generate = "soma.orchestrator.v1.ChatService/Chat", "soma.model.v1.ModelService/Generate"

    async def ended(code: str) -> list[float]:
        name = "rpc_server_call_duration_seconds_count"
        labels = [{"rpc_method": method, "rpc_response_status_code": code} for method in (chat, generate)]
        return [await stack.measured(name, each) for each in labels]

    well, cancelled = await ended("OK"), await ended("CANCELLED")
    assert (await over_grpc(channel, stack, "hello")).finished

    async def counted() -> bool:
        return await ended("OK") == [count + 1 for count in well]

    await until(counted)
    assert await ended("CANCELLED") == cancelled
    assert (await http.get("/v1/models")).status_code == 200
    page = await http.get("/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    assert 'instance="control"' in page.text
    assert page.text.count('soma_edge_requests_total{instance="') > 0


async def test_the_document_describes_every_rest_path_and_the_gateways_own(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    described = {(verb.upper(), path) for path, verbs in document["paths"].items() for verb in verbs}
    # A variable is the last part of its field's path there.
    bound = {(b.verb, re.sub(r"\{(?:\w+\.)+", "{", b.path)) for b in BINDINGS}
    assert bound <= described
    assert {("GET", path) for path in (*PATHS, *PAGES, "/ws/logs")} <= described


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_of_the_reference_needs_no_key_and_comes_compressed(stack: Stack, path: str) -> None:
    async with stack.http(accept="*/*") as visitor:
        page = await visitor.get(path)
        assert (page.status_code, page.headers["content-type"].partition(";")[0]) == (200, "text/html")
        assert page.headers["content-security-policy"].startswith("default-src 'none'; ")
        for script in re.findall(r'<script src="([^"]+)"', page.text):
            answer = await visitor.get(script, headers={"accept-encoding": "gzip"})
            sent = len(answer.content) > 1024
            assert answer.headers.get("content-encoding") == ("gzip" if sent else None)
            again = await visitor.get(script, headers={"if-none-match": answer.headers["etag"]})
            assert again.status_code == 304


async def test_a_plain_http_request_to_a_websocket_says_that_it_is_one(http: httpx.AsyncClient) -> None:
    answer = await http.get("/ws/logs")
    assert answer.status_code == 426
    assert answer.json()["error"]["code"] == "upgrade_required"
    assert "ws://" in answer.json()["error"]["message"]


async def test_reflection_lists_and_describes_every_service(channel: grpc.aio.Channel) -> None:
    reflection = Reflection(channel)
    listed = await reflection.services()
    assert {*SERVICES, "grpc.health.v1.Health"} <= set(listed)
    methods = await reflection.methods()
    assert {binding.rpc for binding in BINDINGS} <= set(methods)


@pytest.mark.parametrize("service", ["", *SERVICES])
async def test_grpc_health_knows_every_service(channel: grpc.aio.Channel, service: str) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=CALL_SECONDS)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_of_an_unknown_service_is_not_found(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    nothing = health_pb2.HealthCheckRequest(service="soma.nothing.v1.NothingService")
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.Check(nothing, timeout=CALL_SECONDS)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


async def test_an_unknown_service_and_an_unknown_method_are_unimplemented(
    stack: Stack, channel: grpc.aio.Channel
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as service:
        await EchoServiceStub(channel).Echo(EchoRequest(text="a"), metadata=stack.metadata, timeout=CALL_SECONDS)
    assert service.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert from_rpc_error(service.value).reason == "UNKNOWN_SERVICE"
    unknown: Any = channel.unary_unary("/soma.memory.v1.MemoryService/Levitate", request_serializer=bytes)
    with pytest.raises(grpc.aio.AioRpcError) as method:
        await unknown(b"", metadata=stack.metadata, timeout=CALL_SECONDS)
    assert method.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("verb", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/v1/chat/nothing", "/docsx"])
async def test_an_unknown_path_is_404_in_json(http: httpx.AsyncClient, verb: str, path: str) -> None:
    answer = await http.request(verb, path)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["error"]["message"]


async def test_a_clients_request_id_comes_back_and_is_in_the_access_log(stack: Stack, http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/models", headers={"x-request-id": "mine-4711"})
    assert answer.headers["x-request-id"] == "mine-4711"
    log = stack.data_dir / "logs" / "access.log"

    async def logged() -> bool:
        return '"mine-4711"' in log.read_text()

    await until(logged)
    assert stack.key not in log.read_text()
