"""Envoy's bootstrap file: where its control plane is, and nothing else."""

import json
from pathlib import Path
from typing import Any

XDS_CLUSTER = "xds"
# Beyond this the gateway refuses connections instead of running out of memory or descriptors.
MAX_DOWNSTREAM_CONNECTIONS = 10_000
# The kernel's limit on the path of a unix socket, its terminating zero included.
_MAX_SOCKET_PATH = 108


def write_bootstrap(path: Path, *, xds_port: int, admin_socket: Path | None, node_id: str) -> None:
    """Write the bootstrap of an Envoy that takes everything else from the control plane at 127.0.0.1:`xds_port`.

    Start Envoy with `-c PATH --disable-hot-restart --concurrency 1`.

    Raises:
        ValueError: `admin_socket` is longer than a unix socket's path may be.
    """
    path.write_text(json.dumps(bootstrap(xds_port=xds_port, admin_socket=admin_socket, node_id=node_id), indent=2))


def bootstrap(*, xds_port: int, admin_socket: Path | None, node_id: str) -> dict[str, Any]:
    """The bootstrap as Envoy's JSON."""
    ads = {"ads": {}, "resource_api_version": "V3"}
    config: dict[str, Any] = {
        "node": {"id": node_id, "cluster": "somamesh"},
        "dynamic_resources": {
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                # The node is 61 kB and costs the control plane 45 ms to parse: once per stream is enough.
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": _RECONNECT}}],
            },
        },
        "static_resources": {"clusters": [_xds_cluster(xds_port)]},
        "overload_manager": {"resource_monitors": [_CONNECTION_LIMIT]},
    }
    if admin_socket is not None:
        if len(str(admin_socket).encode()) >= _MAX_SOCKET_PATH:
            raise ValueError(f"admin socket path is longer than {_MAX_SOCKET_PATH - 1} bytes: {admin_socket}")
        config["admin"] = {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}}
    return config


# Envoy's own default lets a lost control plane stay lost for up to 30 s.
_RECONNECT = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}

_CONNECTION_LIMIT = {
    "name": "envoy.resource_monitors.global_downstream_max_connections",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3."
        "DownstreamConnectionsConfig",
        "max_active_downstream_connections": MAX_DOWNSTREAM_CONNECTIONS,
    },
}


def _xds_cluster(port: int) -> dict[str, Any]:
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}
    return {
        "name": XDS_CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": XDS_CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
    }
