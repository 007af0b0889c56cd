"""Whether vectors can be had yet: nobody waits for a model service that is still loading its model."""

import asyncio
from collections.abc import Sequence
from contextvars import Context

import structlog
from soma.errors.v1 import reasons

from services.memory.embedder import Embedder, Vector
from services.mesh.call import errors
from services.mesh.process import tasks

log = structlog.get_logger("memory")

# What has not come by then may take any time, such as a download: memory is ready without it.
PATIENCE_SECONDS = 30.0
# A model service that answers with an error tries to load its model again when it is asked, which may take all it has.
_PAUSE_SECONDS = 60.0
# Whose text the first one is.
_TENANT = "system"


class WarmEmbedder:
    """An `Embedder` that refuses at once until the one behind it has given a first vector; `check` asks for that."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._began = asyncio.get_running_loop().time()
        self._asking: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._warm = False
        self._may_come = True

    async def embed(self, tenant_id: str, texts: Sequence[str]) -> list[Vector]:
        """See `Embedder`."""
        if not self._warm:
            raise _cold()
        return await self._embedder.embed(tenant_id, texts)

    async def check(self) -> None:
        """Pass unless a first vector may come any moment; ask for it, as often as the service is checked.

        Without a model service, or with one that cannot load its model, there is nothing to wait for.

        Raises:
            Unavailable: reason EMBEDDER_COLD.
        """
        now = asyncio.get_running_loop().time()
        if not self._warm and (self._asking is None or self._asking.done()) and now >= self._not_before:
            # Of no caller's context: it is memory's own call.
            self._asking = asyncio.create_task(self._ask(), context=Context())
        if not self._warm and self._may_come and now < self._began + PATIENCE_SECONDS:
            raise _cold()

    async def close(self) -> None:
        """Ask no more."""
        if self._asking is not None:
            await tasks.end(self._asking)

    async def _ask(self) -> None:
        try:
            await self._embedder.embed(_TENANT, ["warm"])
        except errors.MeshError as error:
            log.info("no vectors yet", reason=error.reason, error=error.message)
            # Its deadline has passed: the model is being loaded.
            self._may_come = error.code is errors.Code.DEADLINE_EXCEEDED
            if not self._may_come and error.code is not errors.Code.UNAVAILABLE:
                self._not_before = asyncio.get_running_loop().time() + _PAUSE_SECONDS
        else:
            self._warm = True


def _cold() -> errors.Unavailable:
    return errors.Unavailable("the embedding model is not loaded yet", reason=reasons.EMBEDDER_COLD, retry_after=1.0)
