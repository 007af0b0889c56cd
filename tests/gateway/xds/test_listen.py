"""The addresses on which the public port may listen."""

import httpx
import pytest

from gateway.xds.snapshot import Endpoint
from services.mesh.testing.waiting import until
from tests.gateway.backends import edge
from tests.gateway.conftest import Gateway
from tests.ports import free_port


@pytest.mark.parametrize(
    ("host", "reached"), [("::1", ["[::1]"]), ("::", ["[::1]", "127.0.0.1"]), ("0.0.0.0", ["127.0.0.1"])]
)
async def test_the_port_is_reached_at_every_address_it_has(envoy: Gateway, host: str, reached: list[str]) -> None:
    port = free_port()
    async with edge("/health") as control, httpx.AsyncClient(timeout=10) as client:
        await envoy.publish(listen=Endpoint(host, port), control_http=(control,))
        for address in reached:

            async def answered(url: str = f"http://{address}:{port}/health") -> bool:
                try:
                    return (await client.get(url)).is_success
                except httpx.ConnectError:
                    return False

            await until(answered)
