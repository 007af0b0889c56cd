"""The address of a Triton server, from its URL."""

from dataclasses import dataclass
from urllib.parse import urlsplit

USUAL_PORT = 8001


@dataclass(frozen=True)
class Address:
    """Where the server's gRPC is: a target for gRPC, and whether it uses TLS."""

    target: str
    secure: bool = False


def address(url: str) -> Address:
    """The address in `grpc://HOST:PORT`, `grpcs://HOST:PORT` or `unix:/PATH`.

    Raises:
        ValueError: it is none of these.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path.startswith("/") and not parts.netloc:
        return Address(f"unix:{parts.path}")
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("grpc", "grpcs") or not parts.hostname or rest:
        raise ValueError("not the URL of a Triton server: write grpc://HOST:PORT, or grpcs://HOST:PORT with TLS")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(f"dns:///{host}:{parts.port or USUAL_PORT}", parts.scheme == "grpcs")
