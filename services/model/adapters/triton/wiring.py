"""What the model service has of Triton: one connection, and what uses it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from prometheus_client import REGISTRY

from services.mesh.process.health import Check
from services.mesh.process.jobs import Job
from services.model.adapters.triton.embedder import TritonEmbedder
from services.model.adapters.triton.server import Server
from services.model.adapters.triton.settings import NAME, TritonSettings
from services.model.adapters.triton.statistics import Statistics
from services.model.catalogue import Catalogue
from services.model.embedding.embedder import Embedder

_STATISTICS_SECONDS = 10.0
# The fewest seconds between two looks that failed calls bring.
_APART_SECONDS = 0.1


@dataclass(frozen=True)
class Triton:
    """The server of the settings as this process uses it.

    Attributes:
        server: the only connection.
        embedder: the mesh's own embedder, with Triton before it.
        statistics: the server's own counts.
        wants: its check of health.
        look_interval: seconds between two looks whether the server is there.
    """

    server: Server
    embedder: TritonEmbedder
    statistics: Statistics
    wants: Mapping[str, Check]
    look_interval: float

    @classmethod
    def opened(cls, settings: TritonSettings, own: Embedder, stack: AsyncExitStack) -> Triton | None:
        """Triton, if the settings have one; `stack` closes it."""
        if not settings.url:
            return None
        server = Server(settings)
        stack.push_async_callback(server.close)
        embedder = TritonEmbedder(server, own, settings)
        statistics = Statistics(server)
        REGISTRY.register(statistics)
        stack.callback(REGISTRY.unregister, statistics)
        return cls(server, embedder, statistics, {"triton": embedder.check}, settings.look_interval)

    def jobs(self, catalogue: Catalogue) -> Sequence[Job]:
        """What keeps it up to date. `catalogue` knows within a look, or a failed call, that the server has gone or is
        back, so that other providers with its models answer meanwhile.
        """
        (entry,) = (each for each in catalogue.entries if each.provider.name == NAME)

        async def follow() -> None:
            if await self.server.live() == bool(entry.problem):
                await entry.refresh()

        return (
            Job("triton", self.embedder.look, every=self.look_interval),
            Job("triton_models", follow, wake=self.server.missed, every=self.look_interval, apart=_APART_SECONDS),
            Job("triton_statistics", self.statistics.read, every=_STATISTICS_SECONDS),
        )
