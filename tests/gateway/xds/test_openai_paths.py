"""Which paths under `/v1/` belong to OpenAI's API, and Envoy's own answers on them."""

import asyncio
import re
from typing import Any

import httpx
import pytest

from gateway.contracts import descriptor_set, public_services
from gateway.xds.bindings import bindings
from gateway.xds.claims import Claim, claims
from gateway.xds.snapshot import Limits
from tests.gateway.conftest import Gateway
from tests.gateway.surfaces import EDGE

TEMPLATES = [each.template for each in bindings(descriptor_set()) if each.service in public_services()]


CLAIMS = claims(EDGE, TEMPLATES)
PREFIXES = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/v1/responses", "/ws")


def api_of(path: str) -> str:
    """To which API a path belongs: `openai`, `contracts`, or `not served` for a part of OpenAI's API."""
    found = [claim for claim in CLAIMS if re.fullmatch(claim.own, path) or spaces(claim, path)]
    if not found:
        return "contracts"
    (claim,) = found
    # If a path lies in several spaces, the first of them has the message.
    return "not served" if claim.surface.name == "openai" and spaces(claim, path)[:1] == [0] else "openai"


def spaces(claim: Claim, path: str) -> list[int]:
    """The numbers of the spaces that a path lies in; none if the path belongs to others."""
    if re.fullmatch(claim.others, path):
        return []
    return [number for number, space in enumerate(claim.spaces) if re.fullmatch(space, path)]


def openai_error(reply: httpx.Response) -> dict[str, Any]:
    """The error of a reply; checks that it has OpenAI's shape."""
    assert reply.headers["content-type"].startswith("application/json"), reply.text
    body = reply.json()
    assert set(body) == {"error"}, body
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}, body
    return error


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/foo", "/v1/foo/bar?a=b", "/v1/chat/completion", "/v1/chatx"])
def test_an_unknown_path_under_v1_is_openais(path: str) -> None:
    assert api_of(path) == "openai"


@pytest.mark.parametrize("path", ["/v1/audio/voices", "/v1/files", "/v1/files?limit=1", "/v1/fine_tuning/jobs/a"])
def test_the_parts_of_openais_api_that_are_not_served_are_known(path: str) -> None:
    assert api_of(path) == "not served"


@pytest.mark.parametrize(
    "path",
    [
        *("/v1/remember", "/v1/remember?x=1", "/v1/remember/x", "/v1/policy", "/v1/policy/evaluated", "/v1/chat"),
        *("/v1/chat?x=1", "/v1/chat/responses/a/b/c", "/v1/usage:sum", "/", "/v2/foo", "/api/v1/foo", "/v1x"),
    ],
)
def test_a_path_that_begins_like_a_contracts_is_the_contracts(path: str) -> None:
    assert api_of(path) == "contracts"


def test_every_path_of_a_contract_is_the_contracts() -> None:
    for template in TEMPLATES:
        assert api_of(re.sub(r"\{[^}]*\}", "a", template)) == "contracts", template


def test_every_path_of_the_edge_is_openais() -> None:
    assert {api_of(f"{prefix}{rest}") for prefix in PREFIXES for rest in ("", "/a", "?a=b")} == {"openai"}


@pytest.mark.parametrize("verb", ["GET", "POST", "DELETE"])
async def test_an_unknown_path_of_openais_is_refused_with_openais_message(envoy: Gateway, verb: str) -> None:
    for path in ("/v1/foo", "/v1/chat/completion", "/v1/foo/", "/v1/modelsx"):
        reply = await envoy.http.request(verb, f"{path}?secret=1")
        assert reply.status_code == 404
        error = openai_error(reply)
        expected = {"message": f"Invalid URL ({verb} {path})", "type": "invalid_request_error"}
        assert error == expected | {"param": None, "code": "unknown_url"}


async def test_the_parts_of_openais_api_that_are_not_served_are_refused_as_such(envoy: Gateway) -> None:
    reply = await envoy.http.post("/v1/audio/voices", json={"input": "x"})
    assert reply.status_code == 404
    assert "POST /v1/audio/voices" in openai_error(reply)["message"]
    assert "not served here" in openai_error(reply)["message"]


async def test_envoys_own_errors_on_openais_paths_have_openais_shape(envoy: Gateway) -> None:
    await envoy.publish(limits=Limits(request_timeout_seconds=0.3))
    reader, writer = await asyncio.open_connection("127.0.0.1", envoy.port)
    writer.write(b"POST /v1/foo HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n")
    async with asyncio.timeout(10):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    late = httpx.Response(int(head.split()[1]), headers={"content-type": "application/json"}, content=body)
    away = await envoy.http.get("/v1/models")
    assert (late.status_code, openai_error(late)["code"]) == (408, "request_timeout")
    assert (away.status_code, openai_error(away)["code"]) == (503, "no_live_instance")
