"""The embedder with Triton before it: while Triton is away, the model of this process makes the vectors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Gauge
from soma.errors.v1 import reasons

from services.mesh.call.errors import InvalidArgument, MeshError, ResourceExhausted, Unavailable
from services.model.adapters.triton.discovery import Served, served
from services.model.adapters.triton.server import Server, remaining
from services.model.embedding.embedder import Embedder, Embeddings

if TYPE_CHECKING:
    from services.model.adapters.triton.settings import TritonSettings

_log = structlog.get_logger(__name__)

_UP = Gauge("soma_model_triton_up", "Whether Triton makes the vectors of the mesh's own embedding model")
_TEXTS = Counter(
    "soma_model_embedded_texts_total", "Texts of the mesh's own embedding model, by who read them", ("by",)
)
_BY_TRITON, _BY_PROCESS = _TEXTS.labels("triton"), _TEXTS.labels("process")


class TritonEmbedder:
    """An `Embedder`. `look` finds whether a model in Triton has the name of `own`; it is called again and again."""

    def __init__(self, server: Server, own: Embedder, settings: TritonSettings) -> None:
        self._server = server
        self._own = own
        self._seconds = settings.answer_timeout
        self._model: Served | None = None
        # Done when the server has gone, so that the calls that wait for it wait no longer.
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._why = ""
        _UP.set(0)

    @property
    def model(self) -> str:
        return self._own.model

    @property
    def dimensions(self) -> int:
        return self._own.dimensions

    async def embed(self, texts: Sequence[str], background: bool = False) -> Embeddings:
        model = self._model
        if model is not None and texts:
            try:
                found = await self._by_triton(model, texts, model.background if background else 0)
                _BY_TRITON.inc(len(texts))
                return found
            except ResourceExhausted:
                # It has more to do than it can; it has not gone.
                pass
            except MeshError as error:
                if error.reason == reasons.PROVIDER_TIMEOUT and remaining(self._seconds) < self._seconds:
                    # The caller's own time is over, or was too short to tell.
                    raise
                if not isinstance(error, InvalidArgument):
                    self._lose(model, error.message)
        found = await self._own.embed(texts, background)
        _BY_PROCESS.inc(len(texts))
        return found

    async def look(self) -> None:
        """Find the model and try it, or find that it has gone."""
        known = self._model
        try:
            if known is not None:
                if not await self._server.ready(known.name):
                    self._lose(known, f"the model {known.name} is not loaded")
                return
            found = next((each for each in await served(self._server) if each.public == self.model), None)
            if found is not None:
                if self._gone.done():
                    self._gone = asyncio.get_running_loop().create_future()
                await self._by_triton(found, ["a text"], 0)
        except MeshError as error:
            self._lose(known, error.message)
            return
        if found is None:
            self._lose(None, f"no model there has the name {self.model}")
        else:
            self._find(found)

    async def check(self) -> None:
        """A check of health: whether Triton makes the vectors.

        Raises:
            Unavailable: the model of this process makes them; the message says why.
        """
        if self._model is None:
            raise Unavailable(self._why or "Triton was not asked yet", reason=reasons.PROVIDER_UNAVAILABLE)

    async def _by_triton(self, model: Served, texts: Sequence[str], priority: int) -> Embeddings:
        from services.model.adapters.triton.refusal import protocol_error
        from services.model.adapters.triton.vectors import vectors

        work = asyncio.ensure_future(vectors(self._server, model.name, texts, model.batch, self._seconds, priority))
        try:
            await asyncio.wait((work, self._gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Unavailable("Triton has gone", reason=reasons.PROVIDER_UNAVAILABLE)
            found = work.result()
        finally:
            work.cancel()
        if found.vectors.shape[1] != self.dimensions:
            raise protocol_error(f"{model.name} has vectors of {found.vectors.shape[1]} dimensions")
        return found

    def _find(self, model: Served) -> None:
        self._model, self._why = model, ""
        _UP.set(1)
        _log.info("triton_makes_vectors", model=model.name)

    def _lose(self, model: Served | None, why: str) -> None:
        if model is not self._model:
            # Another call has found out before.
            return
        if self._model is not None or why != self._why:
            _log.warning("triton_makes_no_vectors", why=why)
        self._model, self._why = None, why
        _UP.set(0)
        if not self._gone.done():
            self._gone.set_result(None)
