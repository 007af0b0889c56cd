"""An Envoy that only forwards gRPC calls to one address: the minimum cost of a gateway with Envoy."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.echo import Echo
from bench.programs import free_port, running
from cli.parts.part import Launch
from cli.parts.program import ENVOY, find

PATIENCE_SECONDS = 30.0
_FILTERS = "type.googleapis.com/envoy.extensions.filters"


@asynccontextmanager
async def plain_envoy(behind: Echo, folder: Path) -> AsyncIterator[Echo]:
    """Run an Envoy before a server, with one worker as in the mesh; yields its address and its pid."""
    port = free_port()
    bootstrap = folder / "plain_envoy.json"
    bootstrap.write_text(json.dumps(_bootstrap(port, behind.address)))
    argv = [str(find(ENVOY)), "-c", str(bootstrap), "--disable-hot-restart", "--concurrency", "1"]
    launch = Launch([*argv, "--log-level", "error"])
    async with running(launch, folder / "plain_envoy.log", port, PATIENCE_SECONDS) as pid:
        yield Echo(f"127.0.0.1:{port}", pid)


def _bootstrap(port: int, behind: str) -> dict[str, Any]:
    host, _, upstream = behind.rpartition(":")
    router = {"@type": f"{_FILTERS}.http.router.v3.Router", "suppress_envoy_headers": True}
    forward = {"match": {"prefix": "/"}, "route": {"cluster": "server", "timeout": "0s"}}
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "plain",
        "codec_type": "HTTP2",
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [{"name": "any", "domains": ["*"], "routes": [forward]}]},
        "http_filters": [{"name": "router", "typed_config": router}],
    }
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    server = {
        "name": "server",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {
            "cluster_name": "server",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(host, int(upstream))}}]}],
        },
    }
    listener = {
        "address": _address("127.0.0.1", port),
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener], "clusters": [server]}}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}
