"""Headers that a client must not set, and secrets that the access log must not have."""

import json
import uuid

import grpc
import pytest
from soma.testing.v1 import echo_service_pb2 as pb
from soma.testing.v1 import echo_service_pb2_grpc as rpc

from services.mesh.testing.waiting import until
from tests.gateway.backends import Echo, edge, serving
from tests.gateway.conftest import ECHO, Gateway
from tests.gateway.xds.test_rest import PATH

FORGED = {
    "x-soma-principal": "forged",
    "X-Soma-Tenant": "forged",
    "x-soma-": "forged",
    "x-soma-source": "forged",
    "x-forwarded-for": "192.0.2.1",
    "x-envoy-original-path": "/forged",
    "x-envoy-upstream-rq-timeout-ms": "1",
}


async def test_reserved_headers_of_a_client_reach_neither_a_service_nor_the_edge(envoy: Gateway) -> None:
    async with serving(Echo()) as backend, edge("/v1/models") as front:
        await envoy.publish(services={ECHO: (backend,)}, http={"edge": (front,)})
        rest = await envoy.http.post(PATH, json={"text": "a"}, headers=FORGED)
        plain = await envoy.http.get("/v1/models", headers=FORGED)
        metadata = tuple((key.lower(), value) for key, value in FORGED.items())
        native = await rpc.EchoServiceStub(envoy.channel).Echo(pb.EchoRequest(text="a"), metadata=metadata)
    seen = [*rest.json()["observation"]["metadata"], *native.observation.metadata]
    assert any(entry.startswith("user-agent=") for entry in seen)
    # The only one of these that the gateway sets itself: where the client is.
    ours = "x-soma-source=127.0.0.1"
    assert [entry for entry in seen if entry.startswith("x-soma-") or "forged" in entry] == [ours, ours]
    assert [item for item in plain.json()["headers"].items() if item[0].startswith("x-soma-")] == [
        ("x-soma-source", "127.0.0.1")
    ]
    assert "forged" not in plain.text


async def test_forwarding_headers_reach_no_service(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        rest = await envoy.http.post(PATH, json={"text": "a"}, headers={"x-forwarded-for": "192.0.2.1"})
        native = await rpc.EchoServiceStub(envoy.channel).Echo(pb.EchoRequest(text="a"))
    for seen in (rest.json()["observation"]["metadata"], native.observation.metadata):
        keys = {entry.partition("=")[0] for entry in seen}
        assert "x-request-id" in keys
        assert not keys & {"x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address"}


async def test_a_credential_reaches_the_service(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        headers = {"authorization": "Bearer key", "x-api-key": "key"}
        reply = await envoy.http.post(PATH, json={"text": "a"}, headers=headers)
    assert {"authorization=Bearer key", "x-api-key=key"} <= set(reply.json()["observation"]["metadata"])


async def test_a_request_id_is_kept_or_made_and_always_returned(envoy: Gateway) -> None:
    async with edge("/v1/models") as front:
        await envoy.publish(http={"edge": (front,)})
        kept = await envoy.http.get("/v1/models", headers={"x-request-id": "b0f9e1b2-0000-4000-8000-000000000001"})
        made = await envoy.http.get("/v1/models")
    assert kept.json()["headers"]["x-request-id"] == "b0f9e1b2-0000-4000-8000-000000000001"
    assert kept.headers["x-request-id"] == "b0f9e1b2-0000-4000-8000-000000000001"
    assert made.json()["headers"]["x-request-id"] == str(uuid.UUID(made.headers["x-request-id"]))


async def test_the_access_log_has_the_path_without_query_and_credential(envoy: Gateway) -> None:
    async with serving(Echo()) as backend, edge("/v1/models") as front:
        await envoy.publish(services={ECHO: (backend,)}, http={"edge": (front,)})
        headers = {"authorization": "Bearer secret-key", "x-request-id": "mine"}
        await envoy.http.get("/v1/models?api_key=secret-key", headers=headers)
        await envoy.http.post(PATH, params={"key": "secret-key"}, json={"text": "a"}, headers=headers)
        await envoy.http.post(PATH, json={"text": "a", "script": {"fail_code": 5}}, headers=headers)
        with pytest.raises(grpc.aio.AioRpcError):
            await rpc.EchoServiceStub(envoy.channel).Echo(pb.EchoRequest(script=pb.Script(fail_code=7)))

    def lines() -> list[str]:
        return envoy.access_log.read_text().splitlines() if envoy.access_log.exists() else []

    await until(lambda: len(lines()) == 4)
    entries = [json.loads(line) for line in lines()]
    assert [(entry["path"], entry["status"]) for entry in entries] == [
        ("/v1/models", 200),
        (PATH, 400),
        (PATH, 404),
        (f"/{ECHO}/Echo", 200),
    ]
    assert entries[3]["grpc_status"] == "7"
    assert entries[0]["request_id"] == "mine"
    assert entries[2]["cluster"] == ECHO
    assert "secret-key" not in envoy.access_log.read_text()
