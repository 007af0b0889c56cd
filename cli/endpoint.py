"""The public port of a stack, as the commands reach it over native gRPC: its URL, its key and its CA."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import grpc

from cli.data_dir import DataDir
from cli.logins import Login, Logins
from cli.state import running
from services.mesh.call.credential import checked, trimmed
from services.mesh.call.errors import FailedPrecondition, InvalidArgument
from services.mesh.call.status import AS_MESH_ERRORS
from services.mesh.process.keys import read_key_if_any
from services.mesh.transport.address import joined
from services.mesh.transport.url import http_url

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_MESSAGE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Endpoint:
    """The public port of a stack, and how its caller proves who it is.

    Attributes:
        key: an API key; None to use the login.
        ca: the CA of its certificate, if the stack has a CA of its own.
        login: the tokens that `soma login` stored for this URL; None if nobody has logged in.
    """

    url: str
    key: str | None
    ca: Path | None = None
    login: Login | None = None

    @property
    def metadata(self) -> Sequence[tuple[str, str]]:
        """The metadata of every call inside `channel`."""
        key = self.key or (self.login.access_token if self.login is not None else None)
        return [("authorization", f"Bearer {key}")] if key else []

    @asynccontextmanager
    async def channel(self, *, authenticated: bool = True) -> AsyncIterator[grpc.aio.Channel]:
        """A channel to the port, closed at the end. A failed call raises MeshError from the block.

        If the caller uses a login, its tokens are renewed first when they expire soon, unless `authenticated` is False.
        """
        target = urlsplit(self.url)
        assert target.hostname is not None
        address = joined(target.hostname, target.port or DEFAULT_PORTS[target.scheme])
        options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)]
        if target.scheme == "https":
            opened = grpc.aio.secure_channel(
                address, grpc.ssl_channel_credentials(self.ca.read_bytes() if self.ca is not None else None), options
            )
        else:
            opened = grpc.aio.insecure_channel(address, options)
        async with opened as channel:
            with AS_MESH_ERRORS:
                if authenticated and self.login is not None and not self.key:
                    await self.login.renew(channel)
                yield channel


def find_endpoint(directory: DataDir, url: str | None, key: str | None) -> Endpoint:
    """The endpoint at `url`, or that of the stack on `directory`, which also gives the key if there is none.

    Raises:
        FailedPrecondition: no URL was given, and no stack runs on the directory.
        InvalidArgument: the URL is not valid, or a header cannot hold the key.
    """
    try:
        key = checked(key) if key is not None else None
    except ValueError as error:
        raise InvalidArgument(f"--key, or SOMA_API_KEY in the environment: {error}") from error
    if url is not None:
        try:
            plain = http_url(trimmed(url))
            return Endpoint(plain, key, login=Logins().get(plain))
        except ValueError as error:
            raise InvalidArgument(f"--url: {error}") from error
    stack = running(directory)
    if stack is None:
        raise FailedPrecondition(
            f"no stack runs on {directory.root}; start one with soma up --dev, or give --url",
            reason="STACK_NOT_RUNNING",
        )
    ca = directory.root / "tls" / "ca.pem"
    own = ca if stack.url.startswith("https:") and ca.exists() else None
    return Endpoint(stack.url, key or read_key_if_any(directory.dev_key), own, Logins().get(stack.url))
