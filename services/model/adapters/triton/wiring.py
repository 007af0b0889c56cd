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
from services.model.adapters.triton.settings import TritonSettings
from services.model.adapters.triton.statistics import Statistics
from services.model.embedding.embedder import Embedder

_STATISTICS_SECONDS = 10.0


@dataclass(frozen=True)
class Triton:
    """The server of the settings as this process uses it.

    Attributes:
        server: the only connection.
        embedder: the mesh's own embedder, with Triton before it.
        jobs: keep it up to date.
        wants: its check of health.
    """

    server: Server
    embedder: TritonEmbedder
    jobs: Sequence[Job]
    wants: Mapping[str, Check]

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
        jobs = (
            Job("triton", embedder.look, every=settings.look_interval),
            Job("triton_statistics", statistics.read, every=_STATISTICS_SECONDS),
        )
        return cls(server, embedder, jobs, {"triton": embedder.check})
