"""The names of processes in their certificates, and which process may call which."""

from asyncio import BaseTransport
from collections.abc import Callable, Iterable

TRUST_DOMAIN = "somamesh"
_PREFIX = f"spiffe://{TRUST_DOMAIN}/"
CONTROL, GATEWAY, SERVE = "control", "envoy", "serve"

SPIFFE_ID = "peer_spiffe_id"
"""gRPC's name for the one SPIFFE id of a verified certificate."""

Allowed = Callable[[str], bool]


def spiffe_id(name: str) -> str:
    """The SPIFFE id of the process `name`."""
    return _PREFIX + name


def name_in(identity: str) -> str:
    """The process's name in its SPIFFE id; empty when the id is not of this trust domain."""
    return identity.removeprefix(_PREFIX) if identity.startswith(_PREFIX) else ""


def identities_of(transport: BaseTransport) -> list[str]:
    """The SPIFFE ids in the certificate at the other end of a connection; none in plain text."""
    certificate = transport.get_extra_info("peercert") or {}
    return [value for kind, value in certificate.get("subjectAltName", ()) if kind == "URI"]


def host_of(service: str) -> str:
    """The host name in the certificate of each process that runs a service; `control` counts as a service here."""
    return f"{service}.{TRUST_DOMAIN}"


def serve_name(services: Iterable[str]) -> str:
    """The name of a process started by hand."""
    return "-".join((SERVE, *services))


def processes(name: str) -> bool:
    """Whether the process serves: only such processes join the registry."""
    return name == SERVE or name.startswith(f"{SERVE}-")


def neighbours(name: str) -> bool:
    """Whether the process calls services: serve processes, the gateway and the control process do."""
    return name in (CONTROL, GATEWAY) or processes(name)


def gateway(name: str) -> bool:
    """Whether the process is Envoy, which alone calls the HTTP applications."""
    return name == GATEWAY
