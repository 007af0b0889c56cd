"""CORS through a real Envoy: only pages of configured origins may call."""

import httpx
import pytest

from services.mesh.call import errors
from services.mesh.settings import Settings
from tests.gateway.backends import Echo, serving
from tests.gateway.conftest import ECHO, Gateway

ALLOWED, OTHER = "https://console.example", "https://elsewhere.example"
RPC, REST, EDGE = f"/{ECHO}/Echo", "/v1/testing/echo", "/v1/chat/completions"


async def preflight(envoy: Gateway, path: str, origin: str) -> httpx.Response:
    """The answer to a preflight of a browser."""
    headers = {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-grpc-web",
    }
    return await envoy.http.options(path, headers=headers)


@pytest.mark.parametrize("path", [RPC, REST, EDGE])
async def test_a_page_of_a_configured_origin_may_call_everything(envoy: Gateway, path: str) -> None:
    await envoy.publish(cors_origins=(ALLOWED,))
    allowed = await preflight(envoy, path, ALLOWED)
    other = await preflight(envoy, path, OTHER)
    assert allowed.status_code == other.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == ALLOWED
    assert "authorization" in allowed.headers["access-control-allow-headers"]
    assert "POST" in allowed.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in allowed.headers
    assert "access-control-allow-origin" not in other.headers


async def test_no_page_may_call_unless_an_origin_is_configured(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        asked = await preflight(envoy, REST, ALLOWED)
        called = await envoy.http.post(REST, json={"text": "a"}, headers={"origin": ALLOWED})
    assert called.status_code == 200
    for answer in (asked, called):
        assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_every_page_may_call_when_a_star_is_configured(envoy: Gateway) -> None:
    await envoy.publish(cors_origins=("*",))
    answer = await preflight(envoy, REST, OTHER)
    assert answer.headers["access-control-allow-origin"] == OTHER


@pytest.mark.parametrize(
    ("verb", "path", "body", "headers", "status"),
    [
        ("POST", REST, b'{"txet": "a"}', {}, 400),
        ("POST", "/v1/nothing", b"{}", {}, 404),
        ("PUT", REST, b"{}", {}, 405),
        ("POST", REST, b'"' + b"x" * 4_300_000 + b'"', {}, 413),
        ("POST", REST, b"{}", {"content-encoding": "gzip"}, 415),
        ("POST", REST, b'{"text": "a"}', {}, 503),
        ("POST", EDGE, b"{}", {}, 503),
    ],
)
async def test_a_page_may_read_what_the_gateway_itself_refuses(
    envoy: Gateway, verb: str, path: str, body: bytes, headers: dict[str, str], status: int
) -> None:
    await envoy.publish(cors_origins=(ALLOWED,))
    sent = {"origin": ALLOWED, "x-request-id": "mine", **headers}
    answer = await envoy.http.request(verb, path, content=body, headers=sent)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["message"]
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert answer.headers["access-control-expose-headers"] == "*"
    assert answer.headers["x-request-id"] == "mine"


async def test_a_page_may_read_a_429(envoy: Gateway) -> None:
    script = {"fail_code": 8, "fail_message": "slow down", "retry_after_seconds": 7}
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)}, cors_origins=(ALLOWED,))
        body = {"text": "a", "script": script}
        answer = await envoy.http.post(REST, json=body, headers={"origin": ALLOWED})
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert answer.headers["access-control-allow-origin"] == ALLOWED


@pytest.mark.parametrize("path", ["/soma.nothing.v1.NothingService/Do", f"/{ECHO}/Echo"])
async def test_a_page_may_read_the_status_of_a_call_the_gateway_refuses(envoy: Gateway, path: str) -> None:
    await envoy.publish(cors_origins=(ALLOWED,))
    headers = {"origin": ALLOWED, "content-type": "application/grpc-web+proto"}
    answer = await envoy.http.post(path, content=b"\0\0\0\0\0", headers=headers)
    assert answer.headers["grpc-status"] == ("14" if ECHO in path else "12")
    assert answer.headers["access-control-allow-origin"] == ALLOWED


async def test_a_change_of_origins_reaches_a_running_gateway(envoy: Gateway) -> None:
    await envoy.publish(cors_origins=(ALLOWED,))
    assert (await preflight(envoy, REST, OTHER)).headers.get("access-control-allow-origin") is None
    await envoy.publish(cors_origins=(ALLOWED, OTHER))
    assert (await preflight(envoy, REST, OTHER)).headers["access-control-allow-origin"] == OTHER


@pytest.mark.parametrize("origin", ["console.example", "https://console.example/", "https://*.example", ""])
def test_an_invalid_origin_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(errors.InvalidArgument, match="cors_origins"):
        Settings(cors_origins=(origin,))
