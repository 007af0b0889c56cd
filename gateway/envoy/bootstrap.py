"""Envoy's bootstrap file: the address of its control plane, and its limits; all else comes over xDS."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

XDS_CLUSTER = "xds"
# The kernel's limit on the path of a unix socket, its terminating zero included.
_MAX_SOCKET_PATH = 108


@dataclass(frozen=True)
class Capacity:
    """Limits of the Envoy process."""

    connections: int = 10_000
    """Connections of clients; one more is closed immediately."""
    heap_bytes: int = 1024 * 1024 * 1024
    """When the heap is nearly full, Envoy resets streams with large buffers, and then refuses requests."""


DEFAULT_CAPACITY = Capacity()


def write_bootstrap(
    path: Path, *, xds_port: int, admin_socket: Path | None, node_id: str, capacity: Capacity = DEFAULT_CAPACITY
) -> None:
    """Write the bootstrap of an Envoy that gets its configuration from the control plane at 127.0.0.1:`xds_port`.

    Start Envoy with `-c PATH --disable-hot-restart --concurrency 1`.

    Raises:
        ValueError: the path `admin_socket` is too long for a unix socket.
    """
    config = bootstrap(xds_port=xds_port, admin_socket=admin_socket, node_id=node_id, capacity=capacity)
    path.write_text(json.dumps(config, indent=2))


def bootstrap(*, xds_port: int, admin_socket: Path | None, node_id: str, capacity: Capacity) -> dict[str, Any]:
    """The content of the bootstrap file."""
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
        "overload_manager": _overload_manager(capacity),
        "layered_runtime": {"layers": [{"name": "gateway", "static_layer": _RUNTIME}]},
    }
    if admin_socket is not None:
        if len(str(admin_socket).encode()) >= _MAX_SOCKET_PATH:
            raise ValueError(f"admin socket path is longer than {_MAX_SOCKET_PATH - 1} bytes: {admin_socket}")
        config["admin"] = {"address": {"pipe": {"path": str(admin_socket), "mode": 0o600}}}
    return config


# By default Envoy waits up to 30 s before it connects again to a lost control plane.
_RECONNECT = {"retry_back_off": {"base_interval": "0.1s", "max_interval": "1s"}}

# By default Envoy refuses regular expressions of more than 100 RE2 instructions. Those of many paths are larger.
_RUNTIME = {"re2.max_program_size.error_level": 100_000, "re2.max_program_size.warn_level": 100_000}

_MONITORS = "type.googleapis.com/envoy.extensions.resource_monitors"
_CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"
_HEAP = "envoy.resource_monitors.fixed_heap"
# Shares of the heap from which Envoy gives memory back, resets large streams, resets all of them, and refuses requests.
_SHRINK, _RESET, _RESET_ALL, _REFUSE = 0.8, 0.85, 0.95, 0.95
# Streams with buffers below 2 to this power, in bytes, are never reset.
_MIN_RESET_POWER = 20


def _overload_manager(capacity: Capacity) -> dict[str, Any]:
    connections = {
        "@type": f"{_MONITORS}.downstream_connections.v3.DownstreamConnectionsConfig",
        "max_active_downstream_connections": capacity.connections,
    }
    heap = {"@type": f"{_MONITORS}.fixed_heap.v3.FixedHeapConfig", "max_heap_size_bytes": capacity.heap_bytes}
    return {
        "refresh_interval": "0.25s",
        "resource_monitors": [
            {"name": _CONNECTIONS, "typed_config": connections},
            {"name": _HEAP, "typed_config": heap},
        ],
        "buffer_factory_config": {"minimum_account_to_track_power_of_two": _MIN_RESET_POWER},
        "actions": [
            _action("shrink_heap", {"threshold": {"value": _SHRINK}}),
            _action(
                "reset_high_memory_stream",
                {"scaled": {"scaling_threshold": _RESET, "saturation_threshold": _RESET_ALL}},
            ),
            _action("stop_accepting_requests", {"threshold": {"value": _REFUSE}}),
        ],
    }


def _action(name: str, trigger: dict[str, Any]) -> dict[str, Any]:
    return {"name": f"envoy.overload_actions.{name}", "triggers": [{"name": _HEAP, **trigger}]}


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
