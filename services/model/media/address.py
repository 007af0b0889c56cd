"""Addresses on the web: what a URL names."""

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Self
from urllib.parse import quote, urlsplit

from services.mesh.transport.public_address import IpAddress

PORTS = {"http": 80, "https": 443}
# Parsers of URLs disagree about these characters.
_REFUSED = re.compile(r"[\x00-\x20\x7f\\]")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
_KEPT = "/%:@!$&'()*+,;=~-._?[]"


class Unreachable(Exception):
    """Why an address is not read. The text ends a sentence that begins with the content at the address."""


@dataclass(frozen=True, slots=True)
class Address:
    """A checked URL.

    Attributes:
        host: name in ASCII, or IP address without brackets; in lower case.
        literal: the IP address, if the URL has one instead of a name.
        target: path and query, as they are sent.
    """

    secure: bool
    host: str
    literal: IpAddress | None
    port: int
    target: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            Unreachable: it is no http or https URL, it holds a password, or its host is none.
        """
        if _REFUSED.search(url):
            raise Unreachable("the URL has a space, a control character or a backslash")
        try:
            parts = urlsplit(url)
            port, name = parts.port, parts.hostname or ""
        except ValueError:
            raise Unreachable("the URL has a host or a port that is none") from None
        if parts.scheme not in PORTS:
            raise Unreachable("its URL does not begin with http:// or https://")
        if "@" in parts.netloc:
            raise Unreachable("the URL holds a user or a password")
        host, literal = _host(name, "[" in parts.netloc)
        target = quote(parts.path or "/", safe=_KEPT) + (f"?{quote(parts.query, safe=_KEPT)}" if parts.query else "")
        return cls(parts.scheme == "https", host, literal, PORTS[parts.scheme] if port is None else port, target)

    @property
    def origin(self) -> str:
        """Scheme, host and port as a URL."""
        return f"{'https' if self.secure else 'http'}://{self.authority}"

    @property
    def authority(self) -> str:
        """Host and port, as the header `Host` has them: without the port if it is the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS["https" if self.secure else "http"] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL for people, without its query, which may hold a credential."""
        return self.origin + self.target.partition("?")[0][:200]

    @property
    def is_local_name(self) -> bool:
        """Whether the name means the machine that resolves it."""
        return self.host == "localhost" or self.host.endswith(".localhost")


def _host(given: str, in_brackets: bool) -> tuple[str, IpAddress | None]:
    """The host in ASCII, and as an IP address if it is one in any form that resolvers accept, such as `127.1`."""
    if in_brackets:
        try:
            literal6 = IPv6Address(given)
        except ValueError:
            raise Unreachable("the URL has a host that is none") from None
        if literal6.scope_id is not None:
            raise Unreachable("the URL has an address of this machine's own network")
        return str(literal6), literal6
    try:
        # The trailing dot of a complete name changes nothing for the resolver.
        host = given.encode("idna").decode("ascii").lower().rstrip(".")
    except UnicodeError:
        raise Unreachable("the URL has a host that is none") from None
    if not _NAME.fullmatch(host):
        raise Unreachable("the URL has a host that is none")
    try:
        literal = IPv4Address(socket.inet_aton(host))
    except OSError:
        return host, None
    return str(literal), literal
