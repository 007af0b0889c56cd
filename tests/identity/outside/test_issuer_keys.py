"""The keys of an issuer: read when they are needed, replaced when they change, and kept while it is away."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web

from services.identity.outside import documents, issuer_keys
from services.identity.outside.documents import MOST_BYTES, read
from services.identity.outside.issuer_keys import IssuerKeys, Unreachable
from services.identity.outside.settings import Issuer
from services.mesh.call import errors
from tests.fakes.issuer import DISCOVERY, JWKS, FakeIssuer
from tests.identity.conftest import Identity
from tests.identity.outside.conftest import settings_for, why


class Clock:
    """The time of the keys."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(issuer: FakeIssuer, clock: Clock) -> IssuerKeys:
    return IssuerKeys("corp", settings_for(issuer).issuers["corp"], read, clock)


async def test_the_keys_are_read_once_for_all_who_wait(keys: IssuerKeys, issuer: FakeIssuer) -> None:
    found = await asyncio.gather(*(keys.find("es256", "ES256") for _ in range(20)))
    assert all(found)
    assert issuer.asked == {DISCOVERY: 1, JWKS: 1}


async def test_a_key_that_the_issuer_has_just_made_is_found(keys: IssuerKeys, issuer: FakeIssuer, clock: Clock) -> None:
    assert await keys.find("es256", "ES256")
    issuer.add_key("next")
    clock.time += issuer_keys.PAUSE_SECONDS
    assert await keys.find("next", "ES256")
    assert issuer.asked[JWKS] == 2


async def test_unknown_keys_cause_one_read_in_a_while(keys: IssuerKeys, issuer: FakeIssuer, clock: Clock) -> None:
    for number in range(50):
        assert await keys.find(f"guess {number}", "ES256") is None
    assert issuer.asked[JWKS] == 1
    clock.time += issuer_keys.PAUSE_SECONDS
    assert await keys.find("another", "ES256") is None
    assert issuer.asked[JWKS] == 2


async def test_a_key_that_the_issuer_takes_back_is_not_used_after_the_next_read(
    keys: IssuerKeys, issuer: FakeIssuer, clock: Clock
) -> None:
    assert await keys.find("es256", "ES256")
    del issuer.keys["es256"]
    await keys.job.step()
    clock.time += issuer_keys.PAUSE_SECONDS
    assert await keys.find("es256", "ES256") is None


async def test_known_keys_work_while_the_issuer_is_away_for_a_day_and_others_are_unavailable(
    keys: IssuerKeys, issuer: FakeIssuer, clock: Clock
) -> None:
    assert await keys.find("es256", "ES256")
    await issuer.stop()
    clock.time += issuer_keys.KEPT_SECONDS - 1
    await keys.job.step()
    assert await keys.find("es256", "ES256")
    with pytest.raises(errors.Unavailable) as unavailable:
        await keys.find("next", "ES256")
    assert (unavailable.value.reason, unavailable.value.facts.metadata) == ("ISSUER_UNAVAILABLE", {"issuer": "corp"})
    clock.time += issuer_keys.PAUSE_SECONDS
    with pytest.raises(errors.Unavailable):
        await keys.find("es256", "ES256")
    await issuer.start()
    clock.time += issuer_keys.PAUSE_SECONDS
    assert await keys.find("es256", "ES256")


def _much() -> web.Response:
    return web.Response(body=b" " * (MOST_BYTES + 1))


def _leads(url: str) -> Callable[[], web.Response]:
    return lambda: web.Response(status=302, headers={"location": url})


ODD: dict[str, dict[str, Callable[[], web.StreamResponse]]] = {
    "an error": {JWKS: lambda: web.Response(status=503)},
    "no JSON": {JWKS: lambda: web.Response(text="<html>")},
    "no key set": {JWKS: lambda: web.json_response({"keys": "none"})},
    "a huge key set": {JWKS: _much},
    "too many keys": {JWKS: lambda: web.json_response({"keys": [{}] * 65})},
    "deep JSON": {JWKS: lambda: web.Response(text="[" * 100_000)},
    "a redirect in a circle": {JWKS: _leads(JWKS)},
    "a redirect to a file": {JWKS: _leads("file:///etc/passwd")},
    "the document of another issuer": {
        DISCOVERY: lambda: web.json_response({"issuer": "https://other.example", "jwks_uri": "https://o.example/k"})
    },
    "a document without an address": {DISCOVERY: lambda: web.json_response({})},
    "an address that is no URL": {DISCOVERY: lambda: web.json_response([])},
}


@pytest.mark.parametrize("how", ODD)
async def test_an_issuer_that_answers_oddly_is_unavailable(keys: IssuerKeys, issuer: FakeIssuer, how: str) -> None:
    issuer.answers |= ODD[how]
    with pytest.raises(errors.Unavailable) as unavailable:
        await keys.find("es256", "ES256")
    assert unavailable.value.reason == "ISSUER_UNAVAILABLE"


async def test_an_issuer_that_does_not_answer_delays_nobody_for_long(
    keys: IssuerKeys, issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(documents, "SECONDS", 0.2)
    over = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as silent:
        port = silent.sockets[0].getsockname()[1]
        issuer.answers[JWKS] = _leads(f"http://127.0.0.1:{port}/keys")
        with pytest.raises(errors.Unavailable):
            await keys.find("es256", "ES256")
        await keys.close()
        over.set()


async def test_a_redirect_of_the_issuer_is_followed(keys: IssuerKeys, issuer: FakeIssuer) -> None:
    issuer.answers[JWKS] = _leads("/moved")
    issuer.answers["/moved"] = lambda: web.json_response(issuer.jwks)
    assert await keys.find("es256", "ES256")


@pytest.mark.parametrize(
    "url",
    [
        "http://issuer.example/keys",
        "https://127.0.0.1/keys",
        "https://[::1]/keys",
        "https://[::ffff:10.0.0.1]/keys",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/keys",
        "https://127.1/keys",
        "file:///etc/passwd",
        "https://user:secret@issuer.example/keys",
    ],
)
async def test_private_addresses_and_plain_http_are_refused_unless_allowed(url: str) -> None:
    with pytest.raises(Unreachable):
        await read(url, private=False)


async def test_a_key_set_in_the_settings_needs_no_discovery(issuer: FakeIssuer, clock: Clock) -> None:
    named = settings_for(issuer, jwks_url=issuer.url + JWKS).issuers["corp"]
    assert await IssuerKeys("corp", named, read, clock).find("es256", "ES256")
    assert issuer.asked == {JWKS: 1}


async def test_an_issuer_that_is_away_when_the_service_starts_is_unavailable_and_comes_back(
    serve: Callable[..., Any], issuer: FakeIssuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issuer_keys, "PAUSE_SECONDS", 0.0)
    token = issuer.token("es256")
    await issuer.stop()
    async with serve() as identity:
        assert isinstance(identity, Identity)
        assert (await why(identity, token)).reason == "ISSUER_UNAVAILABLE"
        await issuer.start()
        assert await identity.who(token)


WRONG: dict[str, dict[str, Any]] = {
    "a shared secret": {"algorithms": ["HS256"]},
    "no algorithm": {"algorithms": []},
    "the algorithm none": {"algorithms": ["none"]},
    "no tenant": {"tenant": ""},
    "two ways to a tenant": {"tenant_claim": "org", "tenants": {"a": "b"}},
    "a claim for tenants without tenants": {"tenant": "", "tenant_claim": "org"},
    "roles without a claim": {"role_claim": ""},
    "plain HTTP": {"private_addresses": False},
    "an unknown setting": {"verify": False},
    "no URL": {"url": "issuer.example"},
}


@pytest.mark.parametrize("how", WRONG)
async def test_settings_that_would_let_the_wrong_people_in_are_refused(issuer: FakeIssuer, how: str) -> None:
    good = settings_for(issuer).issuers["corp"].model_dump()
    assert Issuer(**good)
    with pytest.raises(ValueError, match="Issuer"):
        Issuer(**good | WRONG[how])
