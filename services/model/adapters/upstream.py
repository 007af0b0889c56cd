"""A provider's HTTP server: pooled connections, three kinds of patience, and its failures as typed errors."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from services.mesh import errors
from services.model.adapters import refusal

# An error body is quoted, never needed whole.
_LARGEST_ERROR = 64 * 1024
_LARGEST_LISTING = 8 * 1024 * 1024
_LISTING_SECONDS = 10.0
# A compressed stream of events would be held back until its compressor has enough.
_SENDS_JSON = {"Content-Type": "application/json", "Accept": "text/event-stream", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to connect, to wait for the first byte of an answer, and between two bytes after it."""

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0


class Upstream:
    """One provider's server. Made inside the event loop, closed by its owner."""

    def __init__(self, name: str, base_url: str, headers: Mapping[str, str], patience: Patience) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        # A provider has two or three paths; parsing a URL costs as much as parsing an answer's head.
        self._urls: dict[str, URL] = {}
        self._patience = patience
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": "somamesh", **headers},
            # Callers are limited by the mesh; a limit here would queue them where nobody sees it.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=patience.connect),
            auto_decompress=True,
            cookie_jar=aiohttp.DummyCookieJar(),
            read_bufsize=256 * 1024,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._session.close()

    async def stream(self, path: str, body: dict[str, Any]) -> AsyncGenerator[bytes, None]:
        """POST `body` as JSON and yield the answer as it is read; closing the generator drops the connection.

        Raises:
            MeshError: every failure of the provider, typed; CancelledError passes.
        """
        patience, begun = self._patience, False
        try:
            async with asyncio.timeout(patience.connect + patience.first_byte):
                response = await self._session.post(
                    self._url(path), data=orjson.dumps(body), headers=_SENDS_JSON, allow_redirects=False
                )
            async with response:
                if response.status != 200:
                    said = await self._whole(response, _LARGEST_ERROR)
                    raise refusal.refusal(self.name, response.status, response.headers, said)
                while chunk := await self._next(response, patience.idle if begun else patience.first_byte):
                    begun = True
                    yield chunk
        except aiohttp.ConnectionTimeoutError as error:
            raise refusal.timed_out(self.name, "could not be reached", patience.connect) from error
        except TimeoutError as error:
            what, limit = ("said nothing more", patience.idle) if begun else ("did not answer", patience.first_byte)
            raise refusal.timed_out(self.name, what, limit) from error
        except aiohttp.ClientResponseError as error:
            raise refusal.protocol_error(self.name, "it is not HTTP") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(begun) from error

    async def get(self, path: str) -> Any:
        """GET a JSON document, within a few seconds as a whole.

        Raises:
            MeshError: every failure of the provider, typed.
        """
        limit = min(self._patience.first_byte, _LISTING_SECONDS)
        try:
            async with (
                asyncio.timeout(limit),
                self._session.get(self._url(path), allow_redirects=False) as response,
            ):
                body = await self._whole(response, _LARGEST_LISTING)
                if response.status != 200:
                    raise refusal.refusal(self.name, response.status, response.headers, body)
                return orjson.loads(body)
        except aiohttp.ConnectionTimeoutError as error:
            raise refusal.timed_out(self.name, "could not be reached", self._patience.connect) from error
        except TimeoutError as error:
            raise refusal.timed_out(self.name, "did not answer", limit) from error
        except (orjson.JSONDecodeError, aiohttp.ClientResponseError) as error:
            raise refusal.protocol_error(self.name, "its answer is not JSON") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._lost(False) from error

    def _url(self, path: str) -> URL:
        url = self._urls.get(path)
        if url is None:
            url = self._urls[path] = URL(self._base_url + path)
        return url

    async def _next(self, response: aiohttp.ClientResponse, seconds: float) -> bytes:
        """What has arrived, or what arrives next; empty at the end."""
        if buffered := response.content.read_nowait():
            return buffered
        async with asyncio.timeout(seconds):
            return await response.content.readany()

    async def _whole(self, response: aiohttp.ClientResponse, largest: int) -> bytes:
        """The body, cut at `largest` bytes."""
        body = bytearray()
        while len(body) < largest and (chunk := await self._next(response, self._patience.idle)):
            body += chunk
        return bytes(body[:largest])

    def _lost(self, begun: bool) -> errors.MeshError:
        if begun:
            return refusal.stream_cut(self.name)
        return refusal.unavailable(self.name, f"{self.name} cannot be reached, or closed the connection")
