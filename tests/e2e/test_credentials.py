"""Credentials at the front door of a stack with two workers: tokens of an outside issuer, attacks, and revocations."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import Any

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from soma.identity.v1.auth_service_pb2 import VerifyRequest
from soma.identity.v1.auth_service_pb2_grpc import AuthServiceStub
from websockets.exceptions import InvalidStatus

from services.mesh.call import api_key
from services.mesh.call.authenticator import SOURCE
from services.mesh.call.principal import Principal
from services.mesh.call.status import from_rpc_error
from services.mesh.call.token import METADATA_KEY, Signer
from services.mesh.process.keys import read_key
from services.mesh.testing.waiting import until
from services.model.testing.dialects import Behaviour
from services.model.testing.upstreams import FakeUpstream
from tests.e2e.people import account, named, reason_of, user, with_key
from tests.e2e.scripted import MODEL, configure
from tests.e2e.stack import CALL_SECONDS, Stack
from tests.e2e.test_socket_access import opened
from tests.fakes.issuer import AUDIENCE, JWKS, FakeIssuer

SETTINGS = """
[limits]
default_tier = "unlimited"

[identity]
failed_credentials = 100000
[identity.issuers.corp]
url = "{url}"
audience = "{audience}"
algorithms = ["RS256", "ES256", "EdDSA"]
tenant = "default"
role_claim = "groups"
roles = {{staff = "member"}}
private_addresses = true
"""
# Each on a connection of its own, which the gateway gives to the workers in turn.
ATTEMPTS = 12


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[FakeIssuer]:
    """An outside issuer with a key of each kind."""
    async with FakeIssuer() as running:
        for algorithm in ("RS256", "ES256", "EdDSA"):
            running.add_key(algorithm.lower(), algorithm)
        yield running


@pytest.fixture(scope="module")
async def workers(
    tmp_path_factory: pytest.TempPathFactory,
    model_server: FakeUpstream,
    claude_server: FakeUpstream,
    issuer: FakeIssuer,
) -> AsyncIterator[Stack]:
    """A stack with two workers that accepts tokens of the issuer."""
    directory = tmp_path_factory.mktemp("workers")
    configure(directory, model_server, claude_server, patience=15.0)
    written = directory / "soma.toml"
    limits = written.read_text().replace("max_requests = 100", "max_requests = 400")
    written.write_text(limits + SETTINGS.format(url=issuer.url, audience=AUDIENCE))
    shared = Stack(directory, "--workers", "2")
    async with AsyncExitStack() as closing:
        closing.push_async_callback(shared.down)
        await shared.up()
        yield shared


@pytest.fixture
async def owner(workers: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """The holder of the development key."""
    async with workers.http() as client:
        yield client


async def verify(stack: Stack, key: str) -> httpx.Response:
    """Who has a credential, over REST on a connection of its own."""
    async with with_key(stack, key) as http:
        return await http.get("/v1/auth/verify")


async def verify_natively(stack: Stack, key: str, *more: tuple[str, str]) -> str:
    """Who has a credential, over gRPC: the subject, or the reason of the refusal."""
    async with stack.channel() as channel:
        try:
            answer = await AuthServiceStub(channel).Verify(
                VerifyRequest(), metadata=(("authorization", f"Bearer {key}"), *more), timeout=CALL_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            return from_rpc_error(error).reason
    return str(answer.subject)


async def everywhere(stack: Stack, key: str, status: int) -> bool:
    """Whether a credential has this outcome, however often it is tried."""
    answers = await asyncio.gather(*(verify(stack, key) for _ in range(ATTEMPTS)))
    return all(answer.status_code == status for answer in answers)


async def test_a_token_of_the_issuer_is_accepted_on_every_surface(
    workers: Stack, owner: httpx.AsyncClient, issuer: FakeIssuer
) -> None:
    for key_id in issuer.keys:
        token = issuer.token(key_id, sub=named(), groups=["staff"], name="Ann")
        said = (await verify(workers, token)).raise_for_status().json()
        assert (said["tenant_id"], said["roles"]) == ("default", ["member"])
        assert await verify_natively(workers, token) == said["subject"]
        async with with_key(workers, token) as http:
            body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
            assert (await http.post("/v1/chat/completions", json=body)).status_code == 200
            users = await http.get("/v1/users")
            assert (users.status_code, reason_of(users)) == (403, "SCOPE_MISSING")
        async with opened(workers, "/v1/responses", token, "token") as connection:
            await connection.send(json.dumps({"type": "response.create", "model": MODEL, "input": "hi"}))
            assert json.loads(await connection.recv())["type"] == "response.created"
        known = (await owner.get(f"/v1/users/{said['subject']}")).json()["user"]
        assert (known["outside"]["issuer"], known["display_name"]) == ("corp", "Ann")


async def test_a_logout_and_a_disabled_user_end_tokens_of_the_issuer_everywhere(
    workers: Stack, owner: httpx.AsyncClient, issuer: FakeIssuer
) -> None:
    subject = named()
    first, second = (issuer.token("es256", sub=subject, jti=jti) for jti in ("1", "2"))
    who = (await verify(workers, first)).raise_for_status().json()["subject"]
    assert await everywhere(workers, first, 200)
    async with with_key(workers, first) as http:
        (await http.post("/v1/auth/logout", json={})).raise_for_status()
    await until(partial(everywhere, workers, first, 401))
    assert await everywhere(workers, second, 200)
    (await owner.patch(f"/v1/users/{who}", json={"state": "STATE_DISABLED"})).raise_for_status()
    await until(partial(everywhere, workers, second, 401))


async def test_while_the_issuer_is_away_only_unknown_tokens_are_unavailable(workers: Stack, issuer: FakeIssuer) -> None:
    known = issuer.token("es256", sub=named())
    (await verify(workers, known)).raise_for_status()
    await issuer.stop()
    try:
        issuer.add_key("later")
        unknown = issuer.token("later", sub=named())

        async def unavailable() -> bool:
            return (await verify(workers, unknown)).status_code == 503

        # The pause between two reads may not be over yet.
        await until(unavailable, seconds=20, every=0.5)
        answer = await verify(workers, unknown)
        assert reason_of(answer) == "ISSUER_UNAVAILABLE"
        assert int(answer.headers["retry-after"]) > 0
        assert await everywhere(workers, known, 200)
    finally:
        await issuer.start()

    # Each worker reads the keys again.
    await until(partial(everywhere, workers, unknown, 200), seconds=40, every=0.5)
    assert issuer.asked[JWKS] < 20


def _encoded(part: object) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def _hs256(claims: dict[str, Any], key_id: str, secret: bytes) -> str:
    signed = f"{_encoded({'alg': 'HS256', 'kid': key_id, 'typ': 'at+jwt'})}.{_encoded(claims)}"
    return f"{signed}.{_encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"


OTHER = ec.generate_private_key(ec.SECP256R1())
Forge = Callable[[FakeIssuer, dict[str, Any]], str]
# Made with the issuer, and with the published key of our own tokens.
FORGED: dict[str, Forge] = {
    "no algorithm": lambda issuer, own: jwt.encode(issuer.claims(), "", "none", headers={"kid": "es256"}),
    "the public key as a shared secret": lambda issuer, own: _hs256(
        issuer.claims(), "eddsa", issuer.keys["eddsa"][1].public_key().public_bytes_raw()
    ),
    "an unknown key": lambda issuer, own: jwt.encode(issuer.claims(), OTHER, "ES256", headers={"kid": "x"}),
    "another key with a known id": lambda issuer, own: jwt.encode(
        issuer.claims(), OTHER, "ES256", headers={"kid": "es256"}
    ),
    "a key of its own": lambda issuer, own: jwt.encode(
        issuer.claims(),
        OTHER,
        "ES256",
        headers={"kid": "es256", "jwk": jwt.algorithms.ECAlgorithm.to_jwk(OTHER.public_key(), as_dict=True)},
    ),
    "an address of its own keys": lambda issuer, own: issuer.token("es256", header={"jku": f"{issuer.url}/keys"}),
    "another audience": lambda issuer, own: issuer.token("es256", aud="elsewhere"),
    "another issuer": lambda issuer, own: issuer.token("es256", iss="https://accounts.example"),
    "expired": lambda issuer, own: issuer.token("es256", exp=int(time.time()) - 60),
    "not valid yet": lambda issuer, own: issuer.token("es256", nbf=int(time.time()) + 600),
    "our issuer, by the key of another": lambda issuer, own: issuer.token("es256", iss="somamesh", aud="somamesh"),
    "our published key as a shared secret": lambda issuer, own: _hs256(
        issuer.claims(iss="somamesh", tenant_id="default"),
        own["kid"],
        base64.urlsafe_b64decode(own["x"] + "="),
    ),
    "huge": lambda issuer, own: issuer.token("es256", x="a" * 14_000),
}


@pytest.mark.parametrize("how", FORGED)
async def test_a_forged_token_is_refused_at_the_front_door(workers: Stack, issuer: FakeIssuer, how: str) -> None:
    async with httpx.AsyncClient(base_url=workers.url, timeout=CALL_SECONDS) as anybody:
        own = (await anybody.get("/.well-known/jwks.json")).json()["keys"][0]
    token = FORGED[how](issuer, own)
    wanted = {"TOKEN_INVALID", "TOKEN_EXPIRED", "CREDENTIAL_INVALID"}
    answer = await verify(workers, token)
    assert (answer.status_code, reason_of(answer) in wanted) == (401, True), answer.text
    assert await verify_natively(workers, token) in wanted
    # A huge one makes the URL too long for a WebSocket: 431 then.
    with suppress(InvalidStatus):
        async with opened(workers, "/v1/responses", token, "token") as connection:
            assert json.loads(await connection.recv())["status"] == 401


async def test_a_token_of_ours_cannot_be_replayed_after_a_logout(workers: Stack, owner: httpx.AsyncClient) -> None:
    ann = await user(owner, "member")
    assert await everywhere(workers, ann["access_token"], 200)
    async with with_key(workers, ann["access_token"]) as http:
        (await http.post("/v1/auth/logout", json={})).raise_for_status()
    await until(partial(everywhere, workers, ann["access_token"], 401))
    assert reason_of(await verify(workers, ann["access_token"])) == "CREDENTIAL_REVOKED"
    refresh = await owner.post("/v1/auth/refresh", json={"refresh_token": ann["refresh_token"]})
    assert (refresh.status_code, reason_of(refresh)) == (401, "REFRESH_TOKEN_INVALID")


async def test_a_refresh_token_that_is_used_twice_ends_all_tokens_of_its_session(
    workers: Stack, owner: httpx.AsyncClient
) -> None:
    ann = await user(owner, "member")
    said = {"refresh_token": ann["refresh_token"]}
    renewed = (await owner.post("/v1/auth/refresh", json=said)).raise_for_status().json()
    again = await owner.post("/v1/auth/refresh", json=said)
    assert (again.status_code, reason_of(again)) == (401, "REFRESH_TOKEN_REUSED")
    for token in (ann["access_token"], renewed["access_token"]):
        await until(partial(everywhere, workers, token, 401))
    last = await owner.post("/v1/auth/refresh", json={"refresh_token": renewed["refresh_token"]})
    assert last.status_code == 401


async def test_a_key_that_is_revoked_while_100_calls_are_in_flight_makes_no_more(
    workers: Stack, owner: httpx.AsyncClient, upstream: FakeUpstream
) -> None:
    made = await account(owner, "execute:chat")
    upstream.behaviour = Behaviour(deltas=["word "] * 20, pause=0.1)
    body = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}]}
    async with with_key(workers, made["api_key"]) as http:
        calls = [asyncio.create_task(http.post("/v1/chat/completions", json=body)) for _ in range(100)]
        await upstream.until(open=100)
        (await owner.delete(f"/v1/service-accounts/{made['service_account_id']}")).raise_for_status()
        await until(partial(everywhere, workers, made["api_key"], 401))
        assert await everywhere(workers, made["api_key"], 401)
        # What was begun with a right key is finished; nothing is broken off or fails in another way.
        assert {answer.status_code for answer in await asyncio.gather(*calls)} == {200}


async def test_a_key_that_was_just_refused_works_at_once_when_it_is_right_again(
    workers: Stack, owner: httpx.AsyncClient
) -> None:
    tenant = named()
    made = (await owner.post("/v1/tenants", json={"tenant_id": tenant})).json()
    said = {"tenant_id": tenant, "username": "admin", "password": made["admin_password"]}
    token = (await owner.post("/v1/auth/login", json=said)).json()["access_token"]
    for state, status in (("STATE_SUSPENDED", 403), ("STATE_ACTIVE", 200)) * 2:
        (await owner.patch(f"/v1/tenants/{tenant}", json={"state": state})).raise_for_status()
        if status == 200:
            # A refusal is not kept, so there is nothing to wait for.
            assert await everywhere(workers, token, status)
        else:
            await until(partial(everywhere, workers, token, status))


async def test_a_key_works_in_every_process_as_soon_as_it_is_made(workers: Stack, owner: httpx.AsyncClient) -> None:
    for _ in range(3):
        made = await account(owner, "read:models")
        assert await everywhere(workers, made["api_key"], 200)


async def test_both_keys_of_a_rotation_work_in_every_process_until_the_overlap_is_over(
    workers: Stack, owner: httpx.AsyncClient
) -> None:
    made = await account(owner, "read:models")
    assert await everywhere(workers, made["api_key"], 200)
    path = f"/v1/service-accounts/{made['service_account_id']}:rotate"
    rotated = (await owner.post(path, json={"overlap_seconds": 8})).raise_for_status().json()
    assert await everywhere(workers, made["api_key"], 200)
    assert await everywhere(workers, rotated["api_key"], 200)
    await until(partial(everywhere, workers, made["api_key"], 401))
    assert reason_of(await verify(workers, made["api_key"])) == "CREDENTIAL_EXPIRED"
    assert await everywhere(workers, rotated["api_key"], 200)


async def test_a_header_that_only_the_mesh_may_set_is_of_no_use(workers: Stack, owner: httpx.AsyncClient) -> None:
    signer = Signer(read_key(workers.data_dir / "internal.key").encode(), "outside")
    forged = signer.sign(Principal("default", "intruder", ("admin",), frozenset({"*"})), inside=True)
    weak = await account(owner, "read:nothing")
    for name in (METADATA_KEY, METADATA_KEY.title(), "x-soma-anything"):
        async with workers.http(**{name: forged}) as http:
            assert (await http.get("/v1/users")).status_code == 401
            assert (await http.get("/v1/models")).status_code == 401
        async with workers.http(**{name: forged, "authorization": f"Bearer {weak['api_key']}"}) as http:
            assert (await http.get("/v1/users")).status_code == 403
            assert (await http.get("/v1/auth/verify")).json()["subject"] == weak["service_account_id"]
    metadata = (METADATA_KEY, forged)
    assert await verify_natively(workers, weak["api_key"], metadata) == weak["service_account_id"]


async def test_guesses_at_a_key_are_slowed_down_and_do_not_lock_its_holder_out(
    workers: Stack, owner: httpx.AsyncClient
) -> None:
    made = await account(owner, "read:models")

    async def guess(number: int) -> httpx.Response:
        guessed = api_key.make(made["key_id"]).text
        # An address that a client names itself counts for nothing.
        headers = {"authorization": f"Bearer {guessed}", SOURCE: f"192.0.2.{number}"}
        async with workers.http(**headers) as http:
            return await http.get("/v1/auth/verify")

    answers = [await guess(number) for number in range(40)]
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {401, 429}
    assert statuses[:10] == [401] * 10
    assert statuses[-1] == 429
    assert reason_of(answers[-1]) == "TOO_MANY_ATTEMPTS"
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    assert await verify_natively(workers, api_key.make(made["key_id"]).text) == "TOO_MANY_ATTEMPTS"
    assert await everywhere(workers, made["api_key"], 200)
    other = await account(owner, "read:models")
    assert await everywhere(workers, other["api_key"], 200)
