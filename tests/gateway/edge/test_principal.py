"""A request is authenticated once, and its turn runs as that principal."""

from typing import Any

import httpx

from services.mesh.call.authenticator import DEV_PRINCIPAL
from tests.gateway.edge.conftest import Stand

ASK: dict[str, Any] = {"model": "plain", "messages": [{"role": "user", "content": "Hi"}]}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def test_a_turn_has_the_principal_the_trace_and_the_deadline_of_its_request(
    http: httpx.AsyncClient, stand: Stand
) -> None:
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"}
    assert (await http.post("/v1/chat/completions", json=ASK, headers=headers)).status_code == 200
    call = stand.chat.calls[0]
    assert call is not None
    assert call.principal == DEV_PRINCIPAL
    assert call.trace_id == TRACE
    assert call.deadline is not None


async def test_each_request_without_a_trace_gets_one_of_its_own(http: httpx.AsyncClient, stand: Stand) -> None:
    for _ in range(2):
        await http.post("/v1/chat/completions", json=ASK)
    traces = {call.trace_id for call in stand.chat.calls if call is not None}
    assert len(traces) == 2
    assert "" not in traces


async def test_a_signed_principal_from_a_client_is_not_accepted_as_credential(stand: Stand) -> None:
    async with httpx.AsyncClient(base_url=stand.url, headers={"x-soma-principal": "anything"}) as client:
        assert (await client.post("/v1/chat/completions", json=ASK)).status_code == 401
