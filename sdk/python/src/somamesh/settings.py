"""The URL of the mesh and the API key: from the caller, else from `SOMA_API_URL` and `SOMA_API_KEY`."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import grpc

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_PORTS = {"http": 80, "https": 443}
# `str.strip` does not remove a byte order mark or zero-width spaces.
_AROUND = re.compile(r"^[\s\ufeff\u200b-\u200d\u2060]+|[\s\ufeff\u200b-\u200d\u2060]+$")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A gRPC target, whether it uses TLS, the API key to send, and the certificates to trust."""

    target: str
    secure: bool
    api_key: str | None = field(repr=False)
    ca_file: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """TLS credentials that trust the authorities in the file, else the system's."""
        return grpc.ssl_channel_credentials(self.ca_file.read_bytes() if self.ca_file else None)


def endpoint(base_url: str | None, api_key: str | None, ca_file: str | Path | None = None) -> Endpoint:
    """The endpoint to call. Spaces, quotes and other characters that copying adds around a value are removed.

    Raises:
        ValueError: the URL is not `http://host[:port]` or `https://host[:port]`, there is a `ca_file` without TLS, or
            a header cannot hold the key. The message says where the value came from, and never holds a password or key.
    """
    url, place = _value_and_place(base_url, "base_url", "SOMA_API_URL")
    target, secure = _target(url or DEFAULT_URL, place)
    if ca_file and not secure:
        raise ValueError(f"{place}: {target} is not reached by TLS, so a ca_file would protect nothing")
    key, place = _value_and_place(api_key, "api_key", "SOMA_API_KEY")
    for number, character in enumerate(key, 1):
        if not " " <= character <= "~":
            code = f"U+{ord(character):04X}"
            raise ValueError(f"{place}: character {number} of the key is {code}; a key is one line of printable ASCII")
    return Endpoint(target, secure, key or None, Path(ca_file) if ca_file else None)


def _value_and_place(argument: str | None, name: str, variable: str) -> tuple[str, str]:
    """A value and where it comes from: the argument, else the environment. It is empty when neither has a value."""
    value = _trimmed(argument or "")
    if value:
        return value, f"the argument {name}"
    return _trimmed(os.environ.get(variable, "")), f"{variable} in the environment"


def _trimmed(text: str) -> str:
    """Remove spaces, line ends, a byte order mark and quotes around a value."""
    text = _AROUND.sub("", text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = _AROUND.sub("", text[1:-1])
    return text


def _target(url: str, place: str) -> tuple[str, bool]:
    """The gRPC target of a URL, and whether it uses TLS."""
    wanted = "it is written http://host[:port] or https://host[:port]"
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"{place}: the URL holds a space or a control character; {wanted}")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:
        # UnicodeError is a ValueError. The texts of these errors may repeat a password.
        raise ValueError(f"{place}: the URL has a host or a port that is not valid; {wanted}") from None
    if parts.scheme not in DEFAULT_PORTS or not host or port == 0:
        raise ValueError(f"{place}: the URL has no scheme, no host, or another scheme; {wanted}")
    if "@" in parts.netloc:
        raise ValueError(f"{place}: the URL holds a user or a password, which a mesh does not use; {wanted}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(
            f"{place}: the URL has a path after the host, as OpenAI's clients need it but this one does not; {wanted}"
        )
    return f"{host}:{port or DEFAULT_PORTS[parts.scheme]}", parts.scheme == "https"
