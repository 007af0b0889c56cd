"""Where the mesh is and which key to show it: what the caller gives, else `SOMA_API_URL` and `SOMA_API_KEY`."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A gRPC target, whether it is reached by TLS, and the key to send."""

    target: str
    secure: bool
    api_key: str | None


def endpoint(base_url: str | None, api_key: str | None) -> Endpoint:
    """The endpoint to call.

    Raises:
        ValueError: the URL is not `http://host[:port]` or `https://host[:port]`.
    """
    url = base_url or os.environ.get("SOMA_API_URL") or DEFAULT_URL
    parts = urlsplit(url)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or parts.path not in ("", "/"):
        raise ValueError(f"{url!r} is not http://host[:port] or https://host[:port]")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    target = f"{host}:{parts.port or DEFAULT_PORTS[parts.scheme]}"
    return Endpoint(target, parts.scheme == "https", api_key or os.environ.get("SOMA_API_KEY"))
