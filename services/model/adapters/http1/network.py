"""Connections to the outside: proxies from the usual variables, and additional certificate authorities."""

import ssl
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import unquote, urlsplit

from services.model.adapters.http1.tunnel import Proxy

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Network:
    """The proxies and certificate authorities for connections to servers.

    Attributes:
        proxies: the proxy for each scheme of a server's URL.
        without: hosts that are reached without a proxy, in the form of `NO_PROXY`; this machine always is.
        context: the certificate authorities that TLS trusts; None for those of the system.
    """

    proxies: tuple[tuple[str, Proxy], ...] = ()
    without: tuple[str, ...] = ()
    context: ssl.SSLContext | None = None

    def proxy_for(self, url: str) -> Proxy | None:
        """The proxy for a server; None if the server is reached directly."""
        parts = urlsplit(url)
        proxy = dict(self.proxies).get(parts.scheme)
        host = parts.hostname or ""
        port = parts.port or _PORTS.get(parts.scheme, 0)
        if proxy is None or _is_here(host) or any(_fits(host, port, each) for each in self.without):
            return None
        return proxy


DIRECT = Network()


def network(http_proxy: str, https_proxy: str, no_proxy: str, ca_file: Path | None) -> Network:
    """The network that these settings describe; `proxy_url` has checked the URLs.

    Raises:
        OSError, ssl.SSLError: the file of certificates cannot be read.
    """
    context = None
    if ca_file is not None:
        context = ssl.create_default_context()
        context.load_verify_locations(ca_file)
    given = (("http", http_proxy), ("https", https_proxy))
    proxies = tuple((scheme, _proxy(url)) for scheme, url in given if url)
    without = tuple(each for part in no_proxy.replace(",", " ").split() if (each := part.strip().lower()))
    return Network(proxies, without, context)


def proxy_url(text: str) -> str:
    """Check the URL of a proxy, and add the scheme if it is missing; an empty text stays empty.

    Raises:
        ValueError: it is not a URL, or not one of plain HTTP; the message does not contain the password.
    """
    if not text:
        return ""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        reached = parts.port is None or parts.port > 0
    except ValueError:
        raise ValueError("the proxy's URL has a host or a port that is none") from None
    if parts.scheme != "http":
        raise ValueError(
            f"the proxy's URL begins with {parts.scheme}://; only proxies at http://host:port are supported"
        )
    if not parts.hostname or not reached or any(character.isspace() for character in url):
        raise ValueError("the proxy's URL is none; it is written http://host:port")
    return url


def _proxy(url: str) -> Proxy:
    parts = urlsplit(url)
    return Proxy(
        parts.hostname or "", parts.port or _PORTS["http"], unquote(parts.username or ""), unquote(parts.password or "")
    )


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _fits(host: str, port: int, pattern: str) -> bool:
    """Whether an entry of NO_PROXY matches a server: `*`, a domain, an address or a network, with or without a port."""
    if pattern == "*":
        return True
    name, separator, number = pattern.rpartition(":")
    if separator and number.isdecimal() and (":" not in name or name.endswith("]")):
        if int(number) != port:
            return False
        pattern = name
    pattern = pattern.strip("[]")
    try:
        return ip_address(host) in ip_network(pattern, strict=False)
    except ValueError:
        domain = pattern.removeprefix("*").lstrip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
