"""The one model that is loaded: it is exchanged when another is asked for, and each answer has a slot of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
from soma.errors.v1 import reasons

from services.model.llm.engine import Engine, EngineError, EngineSettings
from services.model.llm.files import ModelFile
from services.model.llm.gguf import Facts, NotGguf
from services.model.llm.memory import context_of, free_bytes, needed_bytes

_log = structlog.get_logger("llm")

_MIB = 1024 * 1024


class Refused(EngineError):
    """A model is not loaded; `reason` says why, for programs."""

    def __init__(self, status: int, message: str, reason: str) -> None:
        super().__init__(status, message)
        self.reason = reason


class Loaded:
    """At most one model is in memory. Callers get slots of it in the order in which they ask.

    A caller that asks for another model waits until the answers in progress have ended, and later callers wait behind.

    Args:
        free: the bytes that can be used without swapping.
    """

    def __init__(self, settings: EngineSettings, free: Callable[[], int] = free_bytes) -> None:
        self._settings = settings
        self._free = free
        self._turn = asyncio.Lock()
        self._changed = asyncio.Condition()
        self._engine: Engine | None = None
        self._loaded: tuple[Path, int, int] | None = None
        self.name = ""
        self.running = 0
        # Its threads answer; one more loads and frees models.
        self.threads = ThreadPoolExecutor(settings.slots + 1, thread_name_prefix="llm")

    @asynccontextmanager
    async def slot(self, file: ModelFile) -> AsyncIterator[Engine]:
        """A slot of the loaded model, for the block.

        Raises:
            EngineError: the model cannot be loaded.
        """
        async with self._turn:
            stat = file.path.stat()
            wanted = file.path, stat.st_mtime_ns, stat.st_ino
            if wanted != self._loaded:
                await self._until(lambda: self.running == 0)
                # The work goes on when this caller leaves. Otherwise the next one would meet it half done.
                await asyncio.shield(asyncio.ensure_future(self._exchange(file, wanted)))
            await self._until(lambda: self.running < self._settings.slots)
            engine = self._engine
            assert engine is not None
            self.running += 1
        try:
            yield engine
        finally:
            self.running -= 1
            async with self._changed:
                self._changed.notify_all()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with self._changed:
            await self._changed.wait_for(is_so)

    async def _exchange(self, file: ModelFile, wanted: tuple[Path, int, int]) -> None:
        loop = asyncio.get_running_loop()
        before, self._engine, self._loaded, self.name = self._engine, None, None, ""
        if before is not None:
            await loop.run_in_executor(self.threads, before.close)
        began = loop.time()
        self._engine = await loop.run_in_executor(self.threads, self._load, file)
        self._loaded, self.name = wanted, file.name
        _log.info("model_loaded", model=file.name, seconds=round(loop.time() - began, 3))

    def _load(self, file: ModelFile) -> Engine:
        try:
            facts = file.facts()
        except (NotGguf, OSError) as error:
            raise Refused(500, f"{file.path.name} cannot be used: {error}", reasons.MODEL_FILE_INVALID) from error
        require_fitting(file.name, facts, self._settings, self._free())
        try:
            return Engine(file.path, self._settings, context_of(facts, self._settings.context))
        except EngineError as error:
            why = f"{error.message} (architecture `{facts.architecture}`); the log of the part llm says why"
            raise Refused(500, why, reasons.MODEL_FILE_INVALID) from error


def require_fitting(name: str, facts: Facts, settings: EngineSettings, free: int) -> None:
    """Refuse a model for which there is not enough memory.

    Raises:
        Refused: it would make the machine swap.
    """
    needed = needed_bytes(facts, settings.context, settings.slots)
    if needed > free:
        raise Refused(
            507,
            f"`{name}` needs about {needed // _MIB} MiB of memory with a context of "
            f"{settings.slots} x {context_of(facts, settings.context)} tokens, and {free // _MIB} MiB are free",
            reasons.MODEL_TOO_LARGE,
        )
