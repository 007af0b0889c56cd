"""A provider's HTTP server, with its timeouts and typed errors."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

import orjson
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.model.adapters import refusal
from services.model.adapters.http1.connection import Broken, Connection, NotHttp
from services.model.adapters.http1.connections import JSON, NO_FIELDS, Connections, ConnectTimeout, Form
from services.model.adapters.http1.network import DIRECT, Network
from services.model.adapters.http1.tunnel import ProxyRefused
from services.model.vendor import Limit

# Only the beginning of an error body is needed.
_LARGEST_ERROR = 64 * 1024
_LARGEST_LISTING = 8 * 1024 * 1024
_LISTING_SECONDS = 10.0
# In JSON, a hundred vectors of 4,096 numbers are smaller than this.
_LARGEST_DOCUMENT = 32 * 1024 * 1024
# Ten pictures of 1536 x 1024 pixels in base64.
_LARGEST_MADE = 96 * 1024 * 1024
# No compression, because a compressor would hold events back until it has enough data.
_SENT = {
    "User-Agent": "somamesh",
    "Accept-Encoding": "identity",
}


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds to connect, to wait for the first byte of a stream, and between two bytes after it.

    `whole` are the seconds until the first byte of an answer in one piece, which comes when the answer is complete.
    """

    connect: float = 5.0
    first_byte: float = 120.0
    idle: float = 60.0
    whole: float = 600.0


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do about a wrong key or URL of a provider; it names the place where it was set."""

    key: str = "check its API key"
    url: str = "check its base URL"


class Upstream:
    """One provider's server. Made inside the event loop, closed by its owner."""

    def __init__(
        self,
        name: str,
        base_url: str,
        headers: Mapping[str, str],
        patience: Patience,
        advice: Advice | None = None,
        limits: Sequence[Limit] = (),
        network: Network = DIRECT,
    ) -> None:
        self.name = name
        self.path = urlsplit(base_url).path
        self.advice = advice or Advice()
        self._patience = patience
        self._limits = limits
        self._connections = Connections(base_url, {**_SENT, **headers}, patience.connect, network)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._connections.close()

    def stream(
        self, path: str, body: dict[str, Any], headers: Mapping[str, str] = NO_FIELDS
    ) -> AsyncGenerator[bytes, None]:
        """POST `body` as JSON and yield the answer as it is read; see `send`.

        `headers` are sent beside those of every request. An answer is awaited as a whole when the body asks for no
        stream.
        """
        return self.send(path, [orjson.dumps(body)], whole=not body.get("stream"), headers=headers)

    async def send(
        self,
        path: str,
        sent: list[bytes],
        form: Form = JSON,
        *,
        whole: bool = False,
        headers: Mapping[str, str] = NO_FIELDS,
        begins: Callable[[Mapping[str, str]], None] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """POST a body and yield the answer as it is read; closing the generator drops the connection.

        Until an answer begins that is awaited as a whole, some servers send blank lines, which are no beginning.

        Args:
            sent: the body alone. It is taken out of the list, because it may be large, and the answer may take minutes.
            whole: whether the answer comes when it is complete, for which one waits longer.
            begins: is called with the headers of the answer, whose names are in lower case.

        Raises:
            MeshError: every failure of the provider, typed; CancelledError is passed on unchanged.
        """
        patience, begun = self._patience, False
        first = patience.whole if whole else patience.first_byte
        connection: Connection | None = None
        try:
            connection = await self._connections.ask("POST", path, sent.pop(), first, headers, form)
            if connection.status != 200:
                said = await self._whole(connection, _LARGEST_ERROR)
                raise refusal.refusal(
                    self.name, connection.status, connection.headers, said, self.advice.key, self._limits
                )
            if begins is not None:
                begins(connection.headers)
            while chunk := await connection.read(patience.idle if begun else first):
                begun = begun or not whole or not chunk.isspace()
                yield chunk
        except ConnectTimeout as error:
            raise refusal.timed_out(self.name, "could not be reached", patience.connect) from error
        except TimeoutError as error:
            what, limit = ("said nothing more", patience.idle) if begun else ("did not answer", first)
            raise refusal.timed_out(self.name, what, limit) from error
        except NotHttp as error:
            raise refusal.protocol_error(self.name, "it is not HTTP") from error
        except UnicodeEncodeError as error:
            raise self._unsendable() from error
        except (ssl.SSLCertVerificationError, ProxyRefused) as error:
            raise self._unreached(error) from error
        except (Broken, OSError) as error:
            raise self._lost(begun) from error
        finally:
            if connection is not None:
                self._connections.give_back(connection)

    async def get(self, path: str) -> Any:
        """GET a JSON document within a few seconds.

        Raises:
            MeshError: every failure of the provider, typed.
        """
        return await self._document(
            "GET", path, b"", min(self._patience.first_byte, _LISTING_SECONDS), _LARGEST_LISTING
        )

    async def post(self, path: str, body: dict[str, Any], headers: Mapping[str, str] = NO_FIELDS) -> Any:
        """POST `body` as JSON and return the JSON document of the answer, within the timeout for the first byte.

        Raises:
            MeshError: every failure of the provider, typed.
        """
        sent = orjson.dumps(body)
        return await self._document("POST", path, sent, self._patience.first_byte, _LARGEST_DOCUMENT, headers)

    async def whole(self, path: str, sent: bytes, form: Form = JSON) -> Any:
        """POST a body, and return the JSON document of an answer that takes long to make, and may be large.

        Raises:
            MeshError: every failure of the provider, typed.
        """
        return await self._document("POST", path, sent, self._patience.whole, _LARGEST_MADE, form=form)

    async def _document(
        self,
        method: str,
        path: str,
        sent: bytes,
        limit: float,
        largest: int,
        headers: Mapping[str, str] = NO_FIELDS,
        form: Form = JSON,
    ) -> Any:
        connection: Connection | None = None
        try:
            async with asyncio.timeout(limit):
                connection = await self._connections.ask(method, path, sent, limit, headers, form)
                body = await self._whole(connection, largest)
                if connection.status != 200:
                    raise refusal.refusal(
                        self.name, connection.status, connection.headers, body, self.advice.key, self._limits
                    )
                return orjson.loads(body)
        except ConnectTimeout as error:
            raise refusal.timed_out(self.name, "could not be reached", self._patience.connect) from error
        except TimeoutError as error:
            raise refusal.timed_out(self.name, "did not answer", limit) from error
        except (orjson.JSONDecodeError, NotHttp) as error:
            raise refusal.protocol_error(self.name, "its answer is not JSON") from error
        except UnicodeEncodeError as error:
            raise self._unsendable() from error
        except (ssl.SSLCertVerificationError, ProxyRefused) as error:
            raise self._unreached(error) from error
        except (Broken, OSError) as error:
            raise self._lost(False) from error
        finally:
            if connection is not None:
                self._connections.give_back(connection)

    async def _whole(self, connection: Connection, largest: int) -> bytes:
        """The body, cut at `largest` bytes."""
        body = bytearray()
        while len(body) < largest and (chunk := await connection.read(self._patience.idle)):
            body += chunk
        return bytes(body[:largest])

    def _unsendable(self) -> errors.MeshError:
        return errors.FailedPrecondition(
            f"{self.name} cannot be asked: its key or its URL has a character that HTTP cannot carry; "
            f"{self.advice.key}, and {self.advice.url}",
            reason=reasons.PROVIDER_CREDENTIAL_REFUSED,
            metadata={"provider": self.name},
        )

    def _unreached(self, error: ssl.SSLCertVerificationError | ProxyRefused) -> errors.MeshError:
        why = f"{error}; check HTTPS_PROXY and HTTP_PROXY"
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not trusted ({error.verify_message}); name its CA in ca_file of [model]"
        return refusal.unavailable(self.name, f"{self.name} cannot be reached: {why}")

    def _lost(self, begun: bool) -> errors.MeshError:
        if begun:
            return refusal.stream_cut(self.name)
        return refusal.unavailable(self.name, f"{self.name} cannot be reached, or closed the connection")
