"""No RPC gives a caller what another tenant owns, or what its scopes do not include: tried for each RPC over REST."""

import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import asyncpg
import httpx
import pytest
from soma.model.v1.catalog_service_pb2 import ListModelsRequest
from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceStub

from cli.parts.postgres import ROLES, database_url
from tests.e2e.contracts import BINDINGS, UNSERVED, Binding
from tests.e2e.owned import owned
from tests.e2e.people import first_login, reason_of, user
from tests.e2e.scripted import MODEL
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.surfaces import over_openai

CLOSED = [binding for binding in BINDINGS if not binding.open]


READ = {f"read:{noun}" for noun in ("conversations", "logs", "memories", "models", "streams", "tenants", "usage")}
# What docs/identity.md says of the roles that every tenant has.
SCOPES = {
    "admin": {"*"},
    "member": {*READ, "execute:chat", "execute:models", "write:conversations", "write:memories"},
    "viewer": READ,
}
# For SQL, templates, logs, paths, terminals and pages.
HOSTILE = (
    "'; DROP TABLE identity.tenant; --",
    "' OR '1'='1",
    "a\0b",
    "${jndi:ldap://127.0.0.1/x} {{7*7}} %s %n %(name)s",
    "<script>alert(1)</script>",
    "../../../../etc/passwd",
    "line\r\nset-cookie: a=b",
    "\u202ebackwards\ufeff \U0001f600",
)
# Their answers have what they stored.
STORING = ("CreateUser", "UpdateUser", "SetRole", "CreateServiceAccount", "UpdateTenant", "CreateChatSession")


@dataclass(frozen=True)
class Sides:
    """A tenant that owns things, and callers who must not have them.

    Attributes:
        name: in all that the owner says and makes.
        ids: of what it owns, for paths.
        stranger: the administrator of another tenant.
        elsewhere: the id of that tenant.
        powerless: a program of the owner's tenant without a useful scope.
    """

    name: str
    ids: dict[str, object]
    owner: httpx.AsyncClient
    stranger: httpx.AsyncClient
    elsewhere: str
    powerless: httpx.AsyncClient


@pytest.fixture(scope="module")
async def sides(stack: Stack) -> AsyncIterator[Sides]:
    """Two tenants on one stack."""
    async with AsyncExitStack() as closing:

        async def client(key: str) -> httpx.AsyncClient:
            headers = {"authorization": f"Bearer {key}"}
            opened = httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=CALL_SECONDS)
            return await closing.enter_async_context(opened)

        owner, name, other = await client(stack.key), f"owner{uuid.uuid4().hex[:8]}", f"t{uuid.uuid4().hex[:8]}"
        made = (await owner.post("/v1/tenants", json={"tenant_id": other, "tier": "unlimited"})).json()
        async with httpx.AsyncClient(base_url=stack.url, timeout=CALL_SECONDS) as anybody:
            first = await first_login(anybody, other, "admin", made["admin_password"])
            admin = await client(first["access_token"])
        # A key, because a session would end when it is tried to log out.
        everything = {"name": "stranger", "scopes": ["*"], "tier": "unlimited"}
        stranger = await client((await admin.post("/v1/service-accounts", json=everything)).json()["api_key"])
        account = {"name": f"{name}-powerless", "scopes": ["read:nothing"], "tier": "unlimited"}
        powerless = await client((await owner.post("/v1/service-accounts", json=account)).json()["api_key"])
        yield Sides(name, await owned(owner, name), owner, stranger, other, powerless)


async def tried(http: httpx.AsyncClient, binding: Binding, path: str) -> httpx.Response:
    """The answer to a call; of a stream that begins, only the beginning."""
    async with http.stream(binding.verb, path, json=binding.body) as answer:
        if answer.status_code != 200 or not binding.streams:
            await answer.aread()
        return answer


async def owner_has_everything(sides: Sides) -> None:
    """Check that nothing was changed or deleted."""
    ids, http = sides.ids, sides.owner
    assert (await http.get(f"/v1/recall/{ids['key']}")).json()["value"] == f"{sides.name} remembers"
    messages = (await http.get(f"/v1/memory/conversations/{ids['conversation_id']}/messages")).text
    assert f"{sides.name} said this" in messages
    assert (await http.get(f"/v1/responses/{ids['response_id']}")).status_code == 200
    assert (await http.get(f"/api/v1/chat/sessions/{ids['session_id']}/stats")).status_code == 200
    account = (await http.get(f"/v1/service-accounts/{ids['service_account_id']}")).json()["service_account"]
    assert (account["state"], len(account["keys"])) == ("STATE_ACTIVE", 1)
    assert (await http.get(f"/v1/users/{ids['user_id']}")).json()["user"]["roles"] == ["member"]
    assert (await http.get(f"/v1/tenants/{ids['tenant_id']}")).json()["tenant"]["title"] == sides.name
    assert sides.name in [role["name"] for role in (await http.get("/v1/roles")).json()["roles"]]


@pytest.mark.parametrize("binding", CLOSED, ids=str)
async def test_a_key_without_the_scope_is_refused(sides: Sides, binding: Binding) -> None:
    answer = await tried(sides.powerless, binding, binding.path.format(**sides.ids))
    wanted = "SCOPE_MISSING" if binding.scope else UNSERVED.get(binding.rpc, "")
    if answer.status_code == 403:
        reasons = [detail.get("reason") for detail in answer.json()["error"]["details"]]
        assert reasons == [wanted], answer.text
    else:
        # Anybody with a credential may make it, and it concerns only the caller.
        assert not binding.scope
        assert answer.status_code in (200, 400), answer.text


async def test_another_tenants_ids_lead_to_nothing_and_change_nothing(sides: Sides) -> None:
    for binding in CLOSED:
        answer = await tried(sides.stranger, binding, binding.path.format(**sides.ids))
        if not binding.streams or answer.status_code != 200:
            # The ids are the caller's own words: only what the owner said and made may not be there.
            assert f"{sides.name} " not in answer.text, binding
        if "{" in binding.path:
            assert answer.status_code in (200, 400, 403, 404), (binding, answer.text)
    await owner_has_everything(sides)


@pytest.mark.parametrize("role", SCOPES)
async def test_a_role_may_call_what_its_scopes_include_and_nothing_else(stack: Stack, sides: Sides, role: str) -> None:
    token = (await user(sides.stranger, role, tenant=sides.elsewhere))["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=CALL_SECONDS) as http:
        for binding in CLOSED:
            # What needs no scope would end the session, or belongs to everybody.
            if not binding.scope:
                continue
            answer = await tried(http, binding, binding.path.format(**sides.ids))
            missing = answer.status_code == 403 and reason_of(answer) == "SCOPE_MISSING"
            verb = binding.scope.partition(":")[0]
            assert missing == SCOPES[role].isdisjoint({binding.scope, f"{verb}:*", "*"}), (binding, answer.status_code)
    await owner_has_everything(sides)


def texts_of(body: Any) -> Iterator[tuple[Any, Any]]:
    """Where a body has a text: the object or list, and the name or place in it."""
    for place, value in list(body.items() if isinstance(body, dict) else enumerate(body)):
        if isinstance(value, str):
            yield body, place
        elif isinstance(value, dict | list):
            yield from texts_of(value)


def named(found: Any, name: str) -> Iterator[str]:
    """The texts that an answer has under a name, at any depth."""
    for key, value in found.items() if isinstance(found, dict) else enumerate(found):
        if key == name and isinstance(value, str):
            yield value
        elif isinstance(value, dict | list):
            yield from named(value, name)


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_text_in_any_field_is_stored_as_it_is_or_refused(sides: Sides, hostile: str) -> None:
    stored: set[str] = set()
    for binding in CLOSED:
        if not binding.body:
            continue
        body = deepcopy(binding.body)
        for holder, place in texts_of(body):
            holder[place], usual = hostile, holder[place]
            path = binding.path.format(**sides.ids)
            async with sides.stranger.stream(binding.verb, path, json=body) as answer:
                if answer.status_code != 200 or not binding.streams:
                    await answer.aread()
            holder[place] = usual
            if answer.status_code >= 500:
                assert reason_of(answer) == UNSERVED.get(binding.rpc), (binding, place, answer.text)
            elif answer.status_code == 200 and binding.rpc.rpartition("/")[2] in STORING:
                stored.add(binding.rpc.rpartition("/")[2])
                assert {*named(answer.json(), place)} <= {hostile}, (binding, place, answer.text)
    value = {"key": f"k{uuid.uuid4().hex}", "value": hostile}
    answer = await sides.stranger.post("/v1/remember", json=value)
    assert answer.status_code == 200, answer.text
    assert (await sides.stranger.get(f"/v1/recall/{value['key']}")).json()["value"] == hostile
    # Postgres's texts have no NUL, so there all are refused.
    assert bool({"SetRole", "UpdateTenant", "CreateChatSession"} & stored) == ("\0" not in hostile)
    await owner_has_everything(sides)


async def test_a_key_is_limited_and_told_what_is_left_on_every_surface(stack: Stack) -> None:
    async with stack.http() as http, stack.channel() as channel:
        account = {"name": f"n{uuid.uuid4().hex[:8]}", "scopes": ["read:models", "execute:chat"], "tier": "free"}
        key = (await http.post("/v1/service-accounts", json=account)).json()["api_key"]
        headers = {"authorization": f"Bearer {key}"}
        rest = await http.get("/api/v1/models/available", headers=headers)
        assert (rest.status_code, rest.headers["x-ratelimit-remaining-requests"]) == (200, "9")
        openai = await http.get("/v1/models", headers=headers)
        assert openai.headers["x-ratelimit-limit-requests"] == "10"
        assert openai.headers["x-ratelimit-remaining-requests"] == "8"
        call = CatalogServiceStub(channel).ListModels(ListModelsRequest(), metadata=tuple(headers.items()))
        assert dict(await call.initial_metadata())["x-ratelimit-remaining-requests"] == "7"
        await call
        said = {"model": MODEL, "messages": [{"role": "ROLE_USER", "content": "hello"}]}
        async with http.stream("POST", "/v1/chat", json=said, headers=headers) as chat:
            assert chat.status_code == 200, await chat.aread()
            assert chat.headers["x-ratelimit-remaining-requests"] == "9"
        for _ in range(7):
            assert (await http.get("/v1/models", headers=headers)).status_code == 200
        refused = await http.get("/api/v1/models/available", headers=headers)
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 61


async def test_a_key_for_chats_needs_no_scope_of_what_a_chat_uses(split: Stack) -> None:
    """Memory is in another process there."""
    async with split.http() as http:
        account = {"name": f"n{uuid.uuid4().hex[:8]}", "scopes": ["execute:chat"]}
        key = (await http.post("/v1/service-accounts", json=account)).json()["api_key"]
    async with httpx.AsyncClient(
        base_url=split.url, headers={"authorization": f"Bearer {key}"}, timeout=CALL_SECONDS
    ) as program:
        conversation = f"chat-{uuid.uuid4()}"
        assert (await over_openai(program, "I am Kim.", conversation=conversation)).finished
        assert (await over_openai(program, "Who am I?", conversation=conversation)).finished
        messages = await program.get(f"/v1/memory/conversations/{conversation}/messages")
        assert messages.status_code == 403


async def test_processes_connect_with_roles_that_policies_bind(sides: Sides, stack: Stack) -> None:
    database = await asyncpg.connect(database_url(stack.data_dir / "postgres", stack.part("postgres").port))
    rows = await database.fetch("SELECT DISTINCT usename::text FROM pg_stat_activity WHERE application_name = 'soma'")
    await database.close()
    assert {row["usename"] for row in rows} == ROLES.keys()
