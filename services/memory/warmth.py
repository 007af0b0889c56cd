"""Whether the model service gives vectors yet: no call waits while it still loads its model."""

import asyncio
from collections.abc import Sequence
from contextvars import Context

import structlog
from soma.errors.v1 import reasons

from services.memory.embedder import Embedder, Vector
from services.mesh.call import errors
from services.mesh.process import tasks

log = structlog.get_logger("memory")

# A model that is not loaded by then may take any time, for example to be downloaded: memory is ready without it.
PATIENCE_SECONDS = 30.0
# A model service that answers with an error loads its model again at each call, which may take all its resources.
_PAUSE_SECONDS = 60.0
# The tenant of the first text.
_TENANT = "system"


class WarmEmbedder:
    """An `Embedder` that refuses at once until the one behind it has given a first vector, which `check` asks for."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._began = asyncio.get_running_loop().time()
        self._asking: asyncio.Task[None] | None = None
        self._not_before = 0.0
        self._warm = False
        self._may_come = True

    async def embed(self, tenant_id: str, texts: Sequence[str]) -> list[Vector]:
        if not self._warm:
            raise _cold()
        return await self._embedder.embed(tenant_id, texts)

    async def check(self) -> None:
        """Fail while a first vector is expected soon; ask for it each time the service is checked.

        Without a model service, or with one that cannot load its model, the check passes.

        Raises:
            Unavailable: reason EMBEDDER_COLD.
        """
        now = asyncio.get_running_loop().time()
        if not self._warm and (self._asking is None or self._asking.done()) and now >= self._not_before:
            # The task has an empty context, because this is memory's own call.
            self._asking = asyncio.create_task(self._ask(), context=Context())
        if not self._warm and self._may_come and now < self._began + PATIENCE_SECONDS:
            raise _cold()

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            await tasks.end(self._asking)

    async def _ask(self) -> None:
        try:
            await self._embedder.embed(_TENANT, ["warm"])
        except errors.MeshError as error:
            log.info("no vectors yet", reason=error.reason, error=error.message)
            # If the deadline has passed, the model is being loaded.
            self._may_come = error.code is errors.Code.DEADLINE_EXCEEDED
            if not self._may_come and error.code is not errors.Code.UNAVAILABLE:
                self._not_before = asyncio.get_running_loop().time() + _PAUSE_SECONDS
        else:
            self._warm = True


def _cold() -> errors.Unavailable:
    return errors.Unavailable("the embedding model is not loaded yet", reason=reasons.EMBEDDER_COLD, retry_after=1.0)
