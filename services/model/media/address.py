"""Addresses on the web: what a URL names, and which IP addresses are public."""

import re
import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Self, TypeAlias
from urllib.parse import quote, urlsplit

IpAddress: TypeAlias = IPv4Address | IPv6Address

PORTS = {"http": 80, "https": 443}
# Parsers of URLs disagree about these characters.
_REFUSED = re.compile(r"[\x00-\x20\x7f\\]")
_NAME = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?")
_KEPT = "/%:@!$&'()*+,;=~-._?[]"
# Networks that are not public (IANA's registries of special-purpose addresses, RFC 6890).
_PRIVATE_IPV4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
            # The service of Azure that gives a virtual machine its secrets.
            "168.63.129.16/32",
        ),
    )
)
# Only these IPv6 addresses are assigned to the public ...
_PUBLIC_IPV6 = ip_network("2000::/3")
# ... except for protocols, documentation, and addresses that hold an IPv4 address (6to4, Teredo).
_PRIVATE_IPV6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# In a network without IPv4, a name leads to its IPv4 address behind this prefix (RFC 6052).
_NAT64 = ip_network("64:ff9b::/96")


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


def is_public(address: IpAddress) -> bool:
    """Whether an address is in the public internet. An IPv4 address inside an IPv6 address counts as itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _PUBLIC_IPV6 and not any(address in network for network in _PRIVATE_IPV6)
    return not any(address in network for network in _PRIVATE_IPV4)


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
