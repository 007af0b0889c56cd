"""The embedder: all-MiniLM-L6-v2, loaded at its first use."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from soma.errors.v1 import reasons

from services.mesh.call.errors import MeshError, Unavailable
from services.model.embedding.architecture import HIDDEN, NAME
from services.model.embedding.embedder import Embeddings
from services.model.embedding.settings import EmbeddingSettings

if TYPE_CHECKING:
    from services.model.embedding.long_texts import LongTexts

_log = structlog.get_logger(__name__)

# A load that takes longer, such as a download, does not delay the start: services can begin without vectors.
PATIENCE_SECONDS = 30.0


class MiniLm:
    """An `Embedder`. The constructor does nothing; `load` or the first call loads the model in a thread."""

    def __init__(self, settings: EmbeddingSettings) -> None:
        self._settings = settings
        self._loading: asyncio.Task[LongTexts] | None = None
        self._began: float | None = None
        self._closed = False

    @property
    def model(self) -> str:
        return NAME

    @property
    def dimensions(self) -> int:
        return HIDDEN

    async def embed(self, texts: Sequence[str], background: bool = False) -> Embeddings:
        # A batch has a share of every call, so that no call has to wait for those in the background.
        model = await self._ready()
        return await model.embed(texts)

    async def embed_at_once(self, texts: Sequence[str]) -> Embeddings:
        """`embed`, if the model is loaded; for callers that do not want to wait for it.

        Raises:
            Unavailable: reason EMBEDDER_COLD; the model is not loaded.
        """
        loading = self._loading
        if loading is None or not loading.done() or loading.exception() is not None:
            raise _cold()
        return await self.embed(texts)

    async def check(self) -> None:
        """A check of health. It fails while the model is loading, for at most `PATIENCE_SECONDS` from the first load.

        Raises:
            Unavailable: reason EMBEDDER_COLD.
        """
        if self._loading is None or self._began is None or self._loading.done():
            return
        if asyncio.get_running_loop().time() < self._began + PATIENCE_SECONDS:
            raise _cold()

    def begin(self) -> None:
        """Begin to load the model. If that fails, it is logged, and the first call raises the error."""
        self._task().add_done_callback(_tell)

    async def load(self) -> None:
        """Load the model now, so that the first call need not wait.

        Raises:
            FailedPrecondition: the model cannot be loaded; the message says why.
        """
        await self._ready()

    async def close(self) -> None:
        """Wait for the running batches, and refuse the waiting texts."""
        self._closed = True
        if self._loading is not None:
            await asyncio.wait([self._loading])
            if self._loading.exception() is None:
                await self._loading.result().close()

    async def _ready(self) -> LongTexts:
        if self._closed:
            raise Unavailable("the embedder is closing")
        # A cancelled caller must not cancel the load for the others.
        return await asyncio.shield(self._task())

    def _task(self) -> asyncio.Task[LongTexts]:
        if self._loading is None or (self._loading.done() and self._loading.exception() is not None):
            if self._began is None:
                self._began = asyncio.get_running_loop().time()
            self._loading = asyncio.create_task(asyncio.to_thread(_load, self._settings))
        return self._loading


def _tell(loading: asyncio.Task[LongTexts]) -> None:
    error = None if loading.cancelled() else loading.exception()
    if isinstance(error, MeshError):
        _log.warning("embedder_not_loaded", reason=error.reason, error=error.message)
    elif error is not None:
        _log.error("embedder_not_loaded", exc_info=error)


def _cold() -> Unavailable:
    return Unavailable("the embedding model is not loaded", reason=reasons.EMBEDDER_COLD, retry_after=1.0)


def _load(settings: EmbeddingSettings) -> LongTexts:
    # Imported here, because numpy, tokenizers and the runtime need 60 MB, also in a process that embeds nothing.
    from services.model.embedding.artifact import prepared
    from services.model.embedding.batcher import Batcher
    from services.model.embedding.engine import Engine
    from services.model.embedding.long_texts import LongTexts
    from services.model.embedding.weights import find_weights

    weights = find_weights(settings.weights, settings.directory / "hub", settings.hub)
    engine = Engine(prepared(weights, settings.precision, settings.directory / "minilm"))
    batcher = Batcher(engine.embed, threads=settings.threads, batch=settings.batch, waiting=settings.waiting)
    return LongTexts(batcher, engine.windows)
