"""A real Triton for tests: the stack's own part, with the models of `models` beside those of the product."""

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import psutil
import pytest

from cli.parts.part import Launch
from cli.parts.triton import PROBE_SECONDS, Installation, Triton
from services.mesh.testing.waiting import until
from services.model.adapters.triton.address import address
from services.model.adapters.triton.channel import Watch, credentials
from services.model.adapters.triton.server import Server as Connection
from services.model.adapters.triton.settings import TritonSettings
from services.model.embedding.settings import EmbeddingSettings
from tests.servers import Server

MODELS = Path(__file__).with_name("models")
Make: TypeAlias = Callable[[Path, TritonSettings, EmbeddingSettings], Triton]


class PublicTriton(Triton):
    """A Triton on a port of 127.0.0.1, as others run theirs: with TLS.

    Args:
        secure: the settings of its clients, whose URL has the port.
        flags: the server's, about TLS.
    """

    def __init__(
        self,
        folder: Path,
        settings: TritonSettings,
        embedding: EmbeddingSettings,
        secure: TritonSettings,
        flags: Sequence[str],
    ) -> None:
        super().__init__(folder, settings, embedding)
        where = address(secure.url)
        self._port = where.target.rpartition(":")[2]
        self._flags = flags
        self._public = Watch(where, credentials(secure))

    async def launch(self) -> Launch:
        launch = await super().launch()
        rest = [each for each in launch.argv if not each.startswith(("--grpc-address", "--grpc-port"))]
        return replace(launch, argv=[*rest, "--grpc-address=127.0.0.1", f"--grpc-port={self._port}", *self._flags])

    async def probe(self, pid: int | None) -> None:
        await self._public.check(PROBE_SECONDS)

    async def close(self) -> None:
        await self._public.close()
        await super().close()


class CrampedTriton(Triton):
    """A Triton whose shared memory, `/dev/shm`, is one of its own, with this size as mount(8) has it."""

    def __init__(self, folder: Path, settings: TritonSettings, embedding: EmbeddingSettings, size: str) -> None:
        super().__init__(folder, settings, embedding)
        self._size = size

    async def launch(self) -> Launch:
        launch = await super().launch()
        return replace(launch, argv=[*cramped(self._size), *launch.argv])


def cramped(size: str) -> Sequence[str]:
    """The words before a command that give it a `/dev/shm` of its own."""
    mount = 'mount -t tmpfs -o "size=$0" tmpfs /dev/shm && exec "$@"'
    return ("/usr/bin/unshare", "--user", "--map-root-user", "--mount", "/bin/sh", "-c", mount, size)


class TritonServer(Server):
    """A Triton without a supervisor."""

    # Each model imports its libraries in a process of its own.
    start_seconds = 240.0

    def __init__(self, part: Triton, folder: Path, repository: Path) -> None:
        self._triton = part
        self._repository = repository
        super().__init__(part, folder)

    @property
    def url(self) -> str:
        """The URL; it stays the same when the server is started again."""
        return self._triton.url

    @property
    def repository(self) -> Path:
        """The folder of the models that are not of the product."""
        return self._repository

    @property
    def prefix(self) -> str:
        """With which the names of its regions of shared memory begin."""
        return self._triton.prefix

    @property
    def pid(self) -> int:
        """The process of the server."""
        assert self._process is not None
        return self._process.pid

    @property
    def models(self) -> list[psutil.Process]:
        """The processes of its models."""
        return psutil.Process(self.pid).children(recursive=True)

    async def loaded(self, connection: Connection, *models: str) -> None:
        """Return once these models are loaded; a server serves before that."""

        async def ready() -> bool:
            return set(models) <= {each.name for each in await connection.models() if each.ready}

        await until(ready, seconds=self.start_seconds)

    def freeze(self) -> None:
        """Stop its process, but not its connections."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let its process go on."""
        os.kill(self.pid, signal.SIGCONT)


def gone(programs: Iterable[psutil.Process]) -> bool:
    """Whether all these processes have ended, whether somebody has asked how or not."""
    return not psutil.wait_procs([each for each in programs if not _is_zombie(each)], timeout=0)[1]


def _is_zombie(program: psutil.Process) -> bool:
    try:
        return bool(program.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def require_triton() -> None:
    """Skip the test where Triton is not installed."""
    root = TritonSettings().environment
    if not (root / "pyvenv.cfg").exists() or not Installation(root).program.exists():
        pytest.skip(f"NVIDIA's Triton is not in {root}: make triton")


@asynccontextmanager
async def triton(
    models: Path, *load: str, repository: Path = MODELS, make: Make = Triton, begin: bool = True
) -> AsyncIterator[TritonServer]:
    """A server with these models for the block, from the product's models and another repository.

    It is started unless it is not to `begin`.

    `models` is the folder of the graph of the embedder.
    """
    require_triton()
    folder = Path(tempfile.mkdtemp(prefix="soma-triton-"))
    settings = TritonSettings(load=load, repository=repository)
    # Exact, because some processors are not exact enough with 8 bits.
    server = TritonServer(
        make(folder, settings, EmbeddingSettings(directory=models, precision="fp32")), folder, repository
    )
    try:
        if begin:
            await server.start()
        yield server
    finally:
        await server.remove()
