"""No surface accepts a call without the key, and no header of a client can replace the key."""

import re

import grpc
import httpx
import openai as vendor
import pytest
from soma.mesh.v1.registry_service_pb2 import RegisterRequest
from soma.mesh.v1.registry_service_pb2_grpc import RegistryServiceStub
from soma.model.v1.catalog_service_pb2 import ListModelsRequest
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub

from services.mesh.call.principal import Principal
from services.mesh.call.status import from_rpc_error
from services.mesh.call.token import METADATA_KEY, Signer
from services.mesh.process.keys import read_key
from tests.e2e.contracts import BINDINGS, Binding
from tests.e2e.scripted import MODEL
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import request

WRONG = [
    pytest.param({}, "CREDENTIAL_MISSING", id="no key"),
    pytest.param({"authorization": "Bearer soma_dev_guess"}, "CREDENTIAL_INVALID", id="a wrong key"),
    pytest.param({"x-api-key": "soma_dev_guess"}, "CREDENTIAL_INVALID", id="a wrong x-api-key"),
    pytest.param({"authorization": "Basic c29tYTpzb21h"}, "CREDENTIAL_INVALID", id="another scheme"),
]


@pytest.mark.parametrize(("headers", "reason"), WRONG)
@pytest.mark.parametrize("binding", [each for each in BINDINGS if not each.open], ids=str)
async def test_every_rest_path_needs_the_key(
    stack: Stack, binding: Binding, headers: dict[str, str], reason: str
) -> None:
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=CALL_SECONDS) as http:
        # The gateway has to refuse it before it looks for anything.
        path = re.sub(r"\{[^}]+\}", "00000000-0000-0000-0000-000000000000", binding.path)
        answer = await http.request(binding.verb, path, json=binding.body)
    assert answer.status_code == 401
    error = answer.json()["error"]
    assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")
    assert [detail["reason"] for detail in error["details"]] == [reason]


@pytest.mark.parametrize(("headers", "reason"), WRONG)
async def test_native_calls_are_unauthenticated_without_the_key(
    channel: grpc.aio.Channel, headers: dict[str, str], reason: str
) -> None:
    metadata = tuple(headers.items())
    with pytest.raises(grpc.aio.AioRpcError) as unary:
        await CatalogServiceStub(channel).ListModels(ListModelsRequest(), metadata=metadata, timeout=CALL_SECONDS)
    with pytest.raises(grpc.aio.AioRpcError) as stream:
        await anext(aiter(ChatServiceStub(channel).Chat(request("hi"), metadata=metadata, timeout=CALL_SECONDS)))
    for raised in (unary, stream):
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert from_rpc_error(raised.value).reason == reason


@pytest.mark.parametrize(("headers", "reason"), WRONG)
@pytest.mark.parametrize(("verb", "path"), [("POST", "/v1/chat/completions"), ("GET", "/v1/models")])
async def test_the_openai_surface_needs_the_key(
    stack: Stack, verb: str, path: str, headers: dict[str, str], reason: str
) -> None:
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=CALL_SECONDS) as http:
        answer = await http.request(verb, path, json={"model": MODEL, "messages": []} if verb == "POST" else None)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_openais_client_raises_its_authentication_error(stack: Stack) -> None:
    async with stack.openai(key="soma_dev_guess") as client:
        with pytest.raises(vendor.AuthenticationError):
            await client.models.list()


async def test_the_key_is_accepted_in_either_header(stack: Stack) -> None:
    for headers in ({"x-api-key": stack.key}, {"authorization": f"bearer {stack.key}"}):
        async with stack.http(**headers) as http:
            assert (await http.get("/v1/models")).status_code == 200
            assert (await http.get("/api/v1/models/available")).status_code == 200


async def test_a_signed_principal_from_a_client_is_not_accepted(stack: Stack, channel: grpc.aio.Channel) -> None:
    signer = Signer(read_key(stack.data_dir / "internal.key").encode(), "outside")
    forged = signer.sign(Principal("default", "intruder", ("admin",), frozenset({"*"})))
    with pytest.raises(grpc.aio.AioRpcError) as native:
        await CatalogServiceStub(channel).ListModels(
            ListModelsRequest(), metadata=((METADATA_KEY, forged),), timeout=CALL_SECONDS
        )
    assert native.value.code() is grpc.StatusCode.UNAUTHENTICATED
    async with stack.http(**{METADATA_KEY: forged}) as http:
        assert (await http.get("/api/v1/models/available")).status_code == 401
        assert (await http.get("/v1/models")).status_code == 401


async def test_clients_cannot_reach_the_registry(stack: Stack, channel: grpc.aio.Channel) -> None:
    # The client sends no message: if one crossed the refusal, gRPC would report the failed write instead.
    nothing: list[RegisterRequest] = []
    call = RegistryServiceStub(channel).Register(iter(nothing), metadata=stack.metadata, timeout=CALL_SECONDS)
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await anext(aiter(call))
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_metrics_need_the_key_and_health_does_not(stack: Stack) -> None:
    async with httpx.AsyncClient(base_url=stack.url, timeout=CALL_SECONDS) as http:
        assert (await http.get("/metrics")).status_code == 401
        assert (await http.get("/api/v1/metrics")).status_code == 401
        assert (await http.get("/health")).status_code == 200
        assert (await http.get("/ready")).status_code == 200
