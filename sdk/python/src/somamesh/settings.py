"""Where the mesh is and which key to show it: what the caller gives, else `SOMA_API_URL` and `SOMA_API_KEY`."""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A gRPC target, whether it is reached by TLS, the key to send, and whose certificates to trust."""

    target: str
    secure: bool
    api_key: str | None
    ca_file: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """TLS that trusts the authorities of the file, else the system's."""
        return grpc.ssl_channel_credentials(self.ca_file.read_bytes() if self.ca_file else None)


def endpoint(base_url: str | None, api_key: str | None, ca_file: str | Path | None = None) -> Endpoint:
    """The endpoint to call.

    Raises:
        ValueError: the URL is not `http://host[:port]` or `https://host[:port]`, or its certificates would go unread.
    """
    url = base_url or os.environ.get("SOMA_API_URL") or DEFAULT_URL
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"{url!r} is not http://host[:port] or https://host[:port]")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    target = f"{host}:{parts.port or DEFAULT_PORTS[parts.scheme]}"
    secure = parts.scheme == "https"
    if ca_file and not secure:
        raise ValueError(f"{url!r} is not reached by TLS, so a ca_file would protect nothing")
    key = api_key or os.environ.get("SOMA_API_KEY")
    return Endpoint(target, secure, key, Path(ca_file) if ca_file else None)
