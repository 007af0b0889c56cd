"""REST through a real Envoy: transcoding, streams, and the one shape of errors."""

from tests.gateway.backends import Echo, serving
from tests.gateway.conftest import ECHO, Gateway


async def test_a_rest_call_is_transcoded_with_proto_field_names_and_defaults(envoy: Gateway) -> None:
    async with serving(Echo()) as backend:
        await envoy.publish(services={ECHO: (backend,)})
        reply = await envoy.http.post("/v1/testing/echo", json={"text": "hello"})
    assert reply.status_code == 200, reply.text
    assert reply.json()["text"] == "hello"
