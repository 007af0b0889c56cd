"""The control plane in the process of `soma up`: Envoy's configuration and the gateway's own health."""

import asyncio
import json

from services.mesh.settings import Settings

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\nconnection: close\r\n\r\n"
ANSWER = HEAD + b'{"status": "ok"}'


class Control:
    """Answers every request of the public port itself."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server
        host, port = server.sockets[0].getsockname()
        self.registry = f"{host}:{port}"

    def admin(self, pid: int) -> str | None:
        """No process can join yet."""
        return None

    async def close(self) -> None:
        """Stop listening."""
        self._server.close()
        await self._server.wait_closed()


async def start_gateway(settings: Settings) -> Control:
    """Listen, and write the bootstrap that leads Envoy here."""
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    control = Control(server)
    port = int(control.registry.rpartition(":")[2])
    (settings.data_dir / "envoy" / "bootstrap.json").write_text(json.dumps(_bootstrap(settings, port)))
    return control


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(ANSWER)
    await writer.drain()
    writer.close()


def _bootstrap(settings: Settings, port: int) -> dict[str, object]:
    def address(host: str, number: int) -> dict[str, object]:
        return {"socket_address": {"address": host, "port_value": number}}

    tcp_proxy = {
        "name": "envoy.filters.network.tcp_proxy",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
            "stat_prefix": "control",
            "cluster": "control",
        },
    }
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address("127.0.0.1", port)}}]}]
    return {
        "static_resources": {
            "listeners": [
                {
                    "name": "public",
                    "address": address(settings.host, settings.port),
                    "enable_reuse_port": False,
                    "filter_chains": [{"filters": [tcp_proxy]}],
                }
            ],
            "clusters": [{"name": "control", "load_assignment": {"cluster_name": "control", "endpoints": endpoints}}],
        }
    }
