"""Where the mesh is and which key to show it: what the caller gives, else `SOMA_API_URL` and `SOMA_API_KEY`."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import grpc

DEFAULT_URL = "http://127.0.0.1:8080"
DEFAULT_PORTS = {"http": 80, "https": 443}
# `str.strip` leaves a byte order mark and spaces that have no width.
_AROUND = re.compile(r"^[\s\ufeff\u200b-\u200d\u2060]+|[\s\ufeff\u200b-\u200d\u2060]+$")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A gRPC target, whether it is reached by TLS, the key to send, and whose certificates to trust."""

    target: str
    secure: bool
    api_key: str | None = field(repr=False)
    ca_file: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """TLS that trusts the authorities of the file, else the system's."""
        return grpc.ssl_channel_credentials(self.ca_file.read_bytes() if self.ca_file else None)


def endpoint(base_url: str | None, api_key: str | None, ca_file: str | Path | None = None) -> Endpoint:
    """The endpoint to call. What copying adds around a URL or a key is taken off.

    Raises:
        ValueError: the URL is not `http://host[:port]` or `https://host[:port]`, its certificates would go unread, or
            no header can carry the key; the message says where it was given, and nothing of a password or the key.
    """
    url, place = _given(base_url, "base_url", "SOMA_API_URL")
    target, secure = _target(url or DEFAULT_URL, place)
    if ca_file and not secure:
        raise ValueError(f"{place}: {target} is not reached by TLS, so a ca_file would protect nothing")
    key, place = _given(api_key, "api_key", "SOMA_API_KEY")
    for number, character in enumerate(key, 1):
        if not " " <= character <= "~":
            code = f"U+{ord(character):04X}"
            raise ValueError(f"{place}: character {number} of the key is {code}; a key is one line of printable ASCII")
    return Endpoint(target, secure, key or None, Path(ca_file) if ca_file else None)


def _given(argument: str | None, name: str, variable: str) -> tuple[str, str]:
    """A value and where it is from: the argument, else the environment; empty where neither has one."""
    value = _trimmed(argument or "")
    if value:
        return value, f"the argument {name}"
    return _trimmed(os.environ.get(variable, "")), f"{variable} in the environment"


def _trimmed(text: str) -> str:
    """A value without the spaces, line ends, byte order mark and quotes around it."""
    text = _AROUND.sub("", text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = _AROUND.sub("", text[1:-1])
    return text


def _target(url: str, place: str) -> tuple[str, bool]:
    """The gRPC target a URL names, and whether it is reached by TLS."""
    wanted = "it is written http://host[:port] or https://host[:port]"
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"{place}: the URL holds a space or a control character; {wanted}")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = parts.hostname or ""
        host = f"[{host}]" if ":" in host else host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError:
        # UnicodeError is one; what they say may repeat a password.
        raise ValueError(f"{place}: the URL has a host or a port that is none; {wanted}") from None
    if parts.scheme not in DEFAULT_PORTS or not host or port == 0:
        raise ValueError(f"{place}: the URL has no scheme, no host, or another scheme; {wanted}")
    if "@" in parts.netloc:
        raise ValueError(f"{place}: the URL holds a user or a password, which no mesh asks for; {wanted}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"{place}: the URL goes on behind the host, where OpenAI's clients want /v1; {wanted}")
    return f"{host}:{port or DEFAULT_PORTS[parts.scheme]}", parts.scheme == "https"
