"""Reads JSON documents of issuers: small ones, in a short time, and by default not from private networks."""

import json
import socket
from ipaddress import ip_address
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from services.identity.outside.issuer_keys import Unreachable
from services.mesh.transport.public_address import is_public
from services.mesh.transport.url import http_url

SECONDS = 5.0
MOST_BYTES = 256 * 1024
MOST_REDIRECTS = 3
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


async def read(url: str, *, private: bool) -> object:
    """The JSON document at a URL; `private` allows addresses in private networks, and `http`.

    Raises:
        Unreachable: it cannot be read, or is no JSON.
    """
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    connector = aiohttp.TCPConnector(resolver=None if private else _PublicResolver())
    try:
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            document: object = json.loads(await _content(session, url, private))
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unreachable(f"{url}: {type(error).__name__} {error}") from error
    except (ValueError, RecursionError) as error:
        raise Unreachable(f"{url}: it is no JSON") from error
    return document


async def _content(session: aiohttp.ClientSession, url: str, private: bool) -> bytes:
    for _ in range(MOST_REDIRECTS + 1):
        _check(url, private)
        headers = {"accept": "application/json", "accept-encoding": "identity"}
        async with session.get(url, headers=headers, allow_redirects=False) as response:
            location = response.headers.get("location")
            if response.status in _REDIRECTS and location:
                url = urljoin(url, location)
                continue
            if response.status != 200:
                raise Unreachable(f"{url}: status {response.status}")
            content = bytearray()
            async for chunk in response.content.iter_any():
                content += chunk
                if len(content) > MOST_BYTES:
                    raise Unreachable(f"{url}: it has more than {MOST_BYTES} bytes")
            return bytes(content)
    raise Unreachable(f"{url}: it leads to more than {MOST_REDIRECTS} other addresses")


def _check(url: str, private: bool) -> None:
    """Refuse a URL without TLS, or with a private address in it; names are checked when they are resolved.

    Raises:
        Unreachable: it is refused.
    """
    try:
        http_url(url)
    except ValueError as error:
        raise Unreachable(f"{url}: {error}") from error
    if private:
        return
    parts = urlsplit(url)
    try:
        public = is_public(ip_address(parts.hostname or ""))
    except ValueError:
        public = True
    if parts.scheme != "https" or not public:
        raise Unreachable(f"{url}: it is in a private network or has no TLS, which private_addresses allows")


class _PublicResolver(AbstractResolver):
    """Resolves names, and refuses those with an address that is not public."""

    def __init__(self) -> None:
        self._resolver = ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        if not all(is_public(ip_address(each["host"])) for each in found):
            raise OSError(f"{host} is in a private network, which private_addresses allows")
        return found

    async def close(self) -> None:
        await self._resolver.close()
