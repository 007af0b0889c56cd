"""No WebSocket gives a caller what another tenant owns, or what its scopes do not include."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import redis.asyncio as aioredis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from gateway.edge.main import SERVICE
from services.mesh.testing.hosted import hosted
from services.mesh.testing.waiting import until
from tests.e2e.people import account, first_login, named, user, with_key
from tests.e2e.response_socket import ResponseSocket
from tests.e2e.scripted import MODEL
from tests.e2e.stack import CALL_SECONDS, Stack


@dataclass(frozen=True)
class Socket:
    """A WebSocket: what it needs, and how to see that it serves.

    Attributes:
        first: what a client sends; empty if the server speaks first.
        served: the type of the message with which it begins to serve.
    """

    path: str
    scope: str
    first: dict[str, Any]
    served: str


CREATE = {"type": "response.create", "model": MODEL, "input": "Hi", "store": False}
# A WebSocket that is added must be added here: a test below compares the paths with those that are declared.
SOCKETS = {
    each.path: each
    for each in (
        Socket("/v1/responses", "execute:chat", CREATE, "response.created"),
        Socket("/ws/logs", "read:logs", {}, "connected"),
    )
}
ROLES = {
    "admin": {"execute:chat", "read:logs"},
    "member": {"execute:chat", "read:logs"},
    "viewer": {"read:logs"},
}
HOW = ("header", "x-api-key", "token")


@asynccontextmanager
async def opened(stack: Stack, path: str, key: str, how: str, query: str = "") -> AsyncIterator[ClientConnection]:
    """A connection with a credential in a header or in `?token=`."""
    url, headers = f"{stack.url.replace('http', 'ws', 1)}{path}?{query}", {}
    match how:
        case "header":
            headers["authorization"] = f"Bearer {key}"
        case "x-api-key":
            headers["x-api-key"] = key
        case "token":
            url += f"&token={key}"
    async with connect(url, additional_headers=headers, ping_interval=None) as connection:
        yield connection


async def outcome(stack: Stack, socket: Socket, key: str, how: str, *, serves: bool = False) -> str:
    """The type of the first message, or how the server refused: an HTTP status, a close code or an error's code.

    `serves` says what is expected of a server that greets everybody.
    """
    try:
        async with opened(stack, socket.path, key, how) as connection:
            if socket.first:
                await connection.send(json.dumps(socket.first))
            message = json.loads(await connection.recv())
            if message["type"] == "connected":
                return await after_the_greeting(connection, serves=serves)
            return f"error {message.get('status')}" if message["type"] == "error" else str(message["type"])
    except InvalidStatus as refused:
        return f"status {refused.response.status_code}"
    except ConnectionClosed as closed:
        return f"closed {closed.rcvd.code if closed.rcvd else 1006}"


async def after_the_greeting(connection: ClientConnection, *, serves: bool) -> str:
    """That the server answers, or the close that it sends to somebody who may not read the logs."""
    await connection.send(json.dumps({"type": "ping"}))
    async with asyncio.timeout(CALL_SECONDS):
        while (message := json.loads(await connection.recv()))["type"] != "pong" or not serves:
            assert message["type"] != "error", message
    return "connected"


def refused(result: str) -> bool:
    """Whether an outcome is a refusal for a credential or a scope."""
    return result in ("status 401", "status 403", "error 401", "error 403", "closed 1008")


@pytest.fixture(scope="module")
async def tokens(stack: Stack) -> dict[str, str]:
    """An access token of a user of each role, and `powerless`, a key without a useful scope."""
    async with stack.http() as http:
        found = {role: str((await user(http, role))["access_token"]) for role in ROLES}
        found["powerless"] = str((await account(http, "read:nothing"))["api_key"])
    return found


@pytest.fixture(scope="module")
async def stranger(stack: Stack) -> str:
    """The key of a program of another tenant that may do everything there."""
    async with stack.http() as http:
        tenant = named()
        made = (await http.post("/v1/tenants", json={"tenant_id": tenant, "tier": "unlimited"})).json()
        token = (await first_login(http, tenant, "admin", made["admin_password"]))["access_token"]
        async with with_key(stack, token) as admin:
            return str((await account(admin, "*"))["api_key"])


async def test_every_socket_is_tested(redis: aioredis.Redis) -> None:
    async with hosted(SERVICE, redis=redis) as edge:
        declared = {path for surface in edge.service.surfaces for path in surface.sockets}
    assert declared == SOCKETS.keys()


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("key", ["", "soma_dev_guess", "a.b.c"], ids=["no key", "a wrong key", "a wrong token"])
@pytest.mark.parametrize("path", SOCKETS)
async def test_a_socket_needs_a_credential(stack: Stack, path: str, key: str, how: str) -> None:
    assert refused(await outcome(stack, SOCKETS[path], key, how))


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("role", [*ROLES, "powerless"])
@pytest.mark.parametrize("path", SOCKETS)
async def test_a_socket_serves_those_who_have_its_scope(
    stack: Stack, tokens: dict[str, str], path: str, role: str, how: str
) -> None:
    socket = SOCKETS[path]
    serves = socket.scope in ROLES.get(role, ())
    result = await outcome(stack, socket, tokens[role], how, serves=serves)
    if serves:
        assert result == socket.served
    else:
        assert refused(result), result


@pytest.mark.parametrize("how", ["header", "token"])
async def test_a_response_of_another_tenant_cannot_be_continued(stack: Stack, stranger: str, how: str) -> None:
    async with stack.http() as http:
        body = {"model": MODEL, "input": "The code is 4711."}
        mine = (await http.post("/v1/responses", json=body)).raise_for_status().json()["id"]
    async with opened(stack, "/v1/responses", stranger, how) as connection:
        client = ResponseSocket(connection)
        last = await client.turn("What is the code?", previous_response_id=mine)
        assert (last["status"], last["error"]["code"]) == (400, "previous_response_not_found")
        assert "4711" not in json.dumps(last)
        # The connection goes on with what is its own.
        own = (await client.turn("Hi"))["response"]["id"]
        assert (await client.turn("And?", previous_response_id=own))["type"] == "response.completed"


async def test_a_socket_that_is_open_makes_no_response_after_its_key_was_revoked(stack: Stack) -> None:
    async with stack.http() as http:
        made = await account(http, "execute:chat")
        async with opened(stack, "/v1/responses", made["api_key"], "token") as connection:
            client = ResponseSocket(connection)
            assert (await client.turn(store=False))["type"] == "response.completed"
            (await http.delete(f"/v1/service-accounts/{made['service_account_id']}")).raise_for_status()

            async def refused_now() -> bool:
                return (await client.turn(store=False)).get("status") == 401

            await until(refused_now, seconds=CALL_SECONDS)


async def test_the_logs_of_another_tenant_are_not_sent(stack: Stack, stranger: str) -> None:
    async with stack.http() as http, with_key(stack, stranger) as theirs:
        session = (await http.post("/api/v1/chat/sessions", json={"model_name": MODEL})).json()["id"]
        own = (await theirs.post("/api/v1/chat/sessions", json={"model_name": MODEL})).json()["id"]
        async with opened(stack, "/ws/logs", stranger, "token") as connection:
            for client, task in ((http, session), (theirs, own)):
                said = await client.post(f"/api/v1/chat/sessions/{task}/messages", json={"message": "kumquats"})
                said.raise_for_status()
            seen = ""
            async with asyncio.timeout(CALL_SECONDS):
                while own not in seen:
                    seen += str(await connection.recv())
        assert session not in seen
