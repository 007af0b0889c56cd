"""The control process as a part: the gateway's control plane, which runs in the process of `soma up`."""

import os
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import Protocol

from cli.parts.part import Part


class Gateway(Protocol):
    """The running control plane: the registry, Envoy's configuration and the gateway's health."""

    @property
    def registry(self) -> str:
        """`host:port` of the registry."""

    def admin(self, pid: int) -> str | None:
        """`host:port` of the admin port of the process `pid`; None until it has joined."""

    async def close(self) -> None:
        """Stop serving."""


class Control(Part):
    """Starts the gateway in this process. It is ready at once, and stopped after the processes that joined it."""

    def __init__(self, start: Callable[[], Awaitable[Gateway]]) -> None:
        super().__init__("control")
        self._start = start
        self._gateway: Gateway | None = None
        self.version = version("somamesh-server")
        self.own_pid = os.getpid()

    async def launch(self) -> None:
        """Start the gateway."""
        self._gateway = await self._start()
        self.where = self._gateway.registry
        self.port = int(self.where.rpartition(":")[2])

    @property
    def registry(self) -> str:
        """`host:port` of the registry; valid when the part is ready."""
        assert self._gateway is not None
        return self._gateway.registry

    def admin(self, pid: int) -> str | None:
        """`host:port` of the admin port of the process `pid`; None until it has joined."""
        return self._gateway.admin(pid) if self._gateway is not None else None

    async def close(self) -> None:
        """Stop the gateway."""
        if self._gateway is not None:
            await self._gateway.close()
