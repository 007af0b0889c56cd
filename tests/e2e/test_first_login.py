"""A stack without `--dev`: from the one-time password of the first start to a tenant, and a program with one scope."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import grpc
import httpx
import pytest
from soma.model.v1.catalog_service_pb2 import ListModelsRequest
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub
from soma.orchestrator.v1.chat_service_pb2_grpc import ChatServiceStub

from services.mesh.call.status import from_rpc_error
from services.mesh.testing.waiting import until
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.people import PASSWORD, reason_of, with_key
from tests.e2e.scripted import configure
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import request

CHOSEN = "nine brown geese sleep soundly"


@dataclass(frozen=True)
class Started:
    """A stack that was started for the first time, and what `soma up` printed."""

    stack: Stack
    printed: str

    async def soma(self, name: str, *arguments: str, said: str | None = None) -> str:
        """The output of a command that succeeds; `said` are the lines of its standard input."""
        ended = await self.stack.soma(name, *arguments, said=said)
        assert ended.status == 0, ended.errors + ended.output
        return ended.output.strip()

    async def refused(self, name: str, *arguments: str, said: str | None = None) -> str:
        """What a command says that fails."""
        ended = await self.stack.soma(name, *arguments, said=said)
        assert ended.status != 0, ended.output
        return ended.errors


@pytest.fixture(scope="module")
async def started(
    tmp_path_factory: pytest.TempPathFactory, model_server: FakeUpstream, claude_server: FakeUpstream
) -> AsyncIterator[Started]:
    """A stack without a development key; commands store logins in a directory of the test's own."""
    directory = tmp_path_factory.mktemp("first")
    configure(directory, model_server, claude_server)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(directory / "config"))
        stack = Stack(directory)
        async with AsyncExitStack() as closing:
            closing.push_async_callback(stack.down)
            yield Started(stack, (await stack.up(dev=False)).output)


async def grpc_refusal(stack: Stack, key: str, call: str) -> str:
    """The reason for which a native call is refused."""
    async with stack.channel() as channel:
        metadata = (("authorization", f"Bearer {key}"),)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            if call == "models":
                await CatalogServiceStub(channel).ListModels(
                    ListModelsRequest(), metadata=metadata, timeout=CALL_SECONDS
                )
            else:
                chat = ChatServiceStub(channel).Chat(request("hi"), metadata=metadata, timeout=CALL_SECONDS)
                await anext(aiter(chat))
    return from_rpc_error(raised.value).reason


async def models(stack: Stack, key: str) -> httpx.Response:
    """The answer to a request for the models over REST."""
    async with with_key(stack, key) as http:
        return await http.get("/api/v1/models/available")


async def test_a_stack_is_used_from_its_first_start_on(started: Started) -> None:
    stack = started.stack

    # The first start prints the password, which works for one thing: to choose another one.
    printed = re.search(r"^password (\S+)", started.printed, re.MULTILINE)
    assert printed is not None, started.printed
    password = printed.group(1)
    assert not stack.key
    assert not (stack.data_dir / "dev.key").exists()
    async with httpx.AsyncClient(base_url=stack.url, timeout=CALL_SECONDS) as anybody:
        said = {"username": "admin", "password": password}
        first = (await anybody.post("/v1/auth/login", json=said)).raise_for_status().json()
        assert first["must_change_password"]
    assert reason_of(await models(stack, first["access_token"])) == "PASSWORD_CHANGE_REQUIRED"
    assert await grpc_refusal(stack, first["access_token"], "models") == "PASSWORD_CHANGE_REQUIRED"
    assert "at least" in await started.refused("login", "--username", "admin", said=f"{password}\nshort\n")
    assert "as admin" in await started.soma("login", "--username", "admin", said=f"{password}\n{CHOSEN}\n")
    assert "is wrong" in await started.refused("login", "--username", "admin", said=f"{password}\n")
    assert "default" in await started.soma("tenants")

    # A tenant with an administrator of its own, whose password works once as well.
    tenant_password = await started.soma("tenants create", "globex", "--title", "Globex")
    await started.soma("login", "--tenant", "globex", "--username", "admin", said=f"{tenant_password}\n{PASSWORD}\n")
    tenants = await started.soma("tenants")
    assert "globex" in tenants
    assert "default" not in tenants

    # A program with one scope, by the command line.
    key = await started.soma("keys create", "agent", "--scopes", "read:models", "--tier", "free")
    assert "agent" in await started.soma("keys")
    assert (await models(stack, key)).status_code == 200
    async with stack.channel() as channel:
        metadata = (("authorization", f"Bearer {key}"),)
        await CatalogServiceStub(channel).ListModels(ListModelsRequest(), metadata=metadata, timeout=CALL_SECONDS)

    # Elsewhere it is refused, with the scope that it lacks.
    async with with_key(stack, key) as http:
        refused = await http.post("/v1/remember", json={"key": "k", "value": "v"})
        assert (refused.status_code, reason_of(refused)) == (403, "SCOPE_MISSING")
        assert "write:memories" in refused.text
        over_openai = await http.post(
            "/v1/chat/completions", json={"model": "fake-large", "messages": [{"role": "user", "content": "hi"}]}
        )
        assert over_openai.status_code == 403
        assert "execute:chat" in over_openai.text
    assert await grpc_refusal(stack, key, "chat") == "SCOPE_MISSING"
    assert "needs the scope" in await started.refused("keys", "--key", key)

    # It is limited, and told when to come back.
    answers = [await models(stack, key) for _ in range(12)]
    limited = answers[-1]
    assert (limited.status_code, reason_of(limited)) == (429, "RATE_LIMITED")
    assert 0 < int(limited.headers["retry-after"]) <= 61
    assert await grpc_refusal(stack, key, "models") == "RATE_LIMITED"

    # It is rotated with an overlap, then without one, and revoked.
    unlimited = await started.soma("keys create", "other", "--scopes", "read:models", "--tier", "unlimited")
    async with with_key(stack, await login(stack)) as admin:
        listed = (await admin.get("/v1/service-accounts")).json()["service_accounts"]
        account = next(each["service_account_id"] for each in listed if each["name"] == "other")
    second = await started.soma("keys rotate", account, "--overlap", "60")
    assert (await models(stack, unlimited)).status_code == (await models(stack, second)).status_code == 200
    third = await started.soma("keys rotate", account, "--overlap", "0")

    async def out(given: str) -> bool:
        return (await models(stack, given)).status_code == 401

    for given in (unlimited, second):
        await until(partial(out, given))
        assert reason_of(await models(stack, given)) == "CREDENTIAL_REVOKED"
    assert (await models(stack, third)).status_code == 200
    await started.soma("keys revoke", account)
    await until(partial(out, third))
    assert await grpc_refusal(stack, third, "models") == "CREDENTIAL_REVOKED"


async def login(stack: Stack) -> str:
    """An access token of the administrator of the new tenant."""
    async with httpx.AsyncClient(base_url=stack.url, timeout=CALL_SECONDS) as anybody:
        said = {"tenant_id": "globex", "username": "admin", "password": PASSWORD}
        answer = (await anybody.post("/v1/auth/login", json=said)).raise_for_status().json()
    return str(answer["access_token"])


async def test_a_second_tenant_sees_nothing_of_the_first(started: Started) -> None:
    """It runs after the test above, which has made both."""
    stack = started.stack
    async with httpx.AsyncClient(base_url=stack.url, timeout=CALL_SECONDS) as anybody:
        said = {"username": "admin", "password": CHOSEN}
        operator = (await anybody.post("/v1/auth/login", json=said)).raise_for_status().json()["access_token"]
    async with with_key(stack, operator) as ours, with_key(stack, await login(stack)) as theirs:
        (await ours.post("/v1/remember", json={"key": "secret", "value": "kumquat"})).raise_for_status()
        (await ours.post("/v1/service-accounts", json={"name": "kumquat", "scopes": ["*"]})).raise_for_status()
        for path in ("/v1/memories", "/v1/recall/secret", "/v1/service-accounts", "/v1/users", "/v1/tenants/default"):
            answer = await theirs.get(path)
            assert answer.status_code in (200, 404), path
            assert "kumquat" not in answer.text, path
        assert reason_of(await theirs.post("/v1/tenants", json={"tenant_id": "initech"})) == "OPERATOR_ONLY"
