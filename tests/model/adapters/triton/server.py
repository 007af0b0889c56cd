"""A real Triton for tests: the stack's own part, with the models of `models` beside those of the product."""

import os
import signal
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from cli.parts.triton import Installation, Triton
from services.model.adapters.triton.settings import TritonSettings
from services.model.embedding.settings import EmbeddingSettings
from tests.servers import Server

MODELS = Path(__file__).with_name("models")


class TritonServer(Server):
    """A Triton without a supervisor."""

    # Each model imports its libraries in a process of its own.
    start_seconds = 240.0

    def __init__(self, folder: Path, settings: TritonSettings, embedding: EmbeddingSettings) -> None:
        self._triton = Triton(folder, settings, embedding)
        self._repository = settings.repository
        super().__init__(self._triton, folder)

    @property
    def url(self) -> str:
        """The URL; it stays the same when the server is started again."""
        return self._triton.url

    @property
    def repository(self) -> Path:
        """The folder of the models that are not of the product."""
        assert self._repository is not None
        return self._repository

    @property
    def pid(self) -> int:
        """The process of the server."""
        assert self._process is not None
        return self._process.pid

    @property
    def models(self) -> list[psutil.Process]:
        """The processes of its models."""
        return psutil.Process(self.pid).children(recursive=True)

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
async def triton(models: Path, *load: str, repository: Path = MODELS) -> AsyncIterator[TritonServer]:
    """A server with these models for the block, from the product's models and another repository.

    `models` is the folder of the graph of the embedder.
    """
    require_triton()
    folder = Path(tempfile.mkdtemp(prefix="soma-triton-"))
    settings = TritonSettings(load=load, repository=repository)
    # Exact, because some processors are not exact enough with 8 bits.
    server = TritonServer(folder, settings, EmbeddingSettings(directory=models, precision="fp32"))
    try:
        await server.start()
        yield server
    finally:
        await server.remove()
