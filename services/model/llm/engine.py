"""llama.cpp in this process, for one GGUF file. Nothing of the mesh is needed here."""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Prompts are read in batches of so many tokens. Between two batches, a reader that left is noticed.
_BATCH = 32


@dataclass(frozen=True)
class EngineSettings:
    """How llama.cpp uses the machine.

    Attributes:
        context: most tokens of a conversation with its answer.
        slots: answers made at a time. Each has its own context, so that none can take the memory of another.
        threads: threads that compute; 0 for one less than the process may use processors.
    """

    context: int = 4096
    slots: int = 2
    threads: int = 0

    @property
    def computing(self) -> int:
        """The number of threads."""
        if self.threads:
            return self.threads
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return max(1, processors - 1)


class EngineError(Exception):
    """llama.cpp refused or failed; `status` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Engine:
    """A loaded model. `answer` may be called by as many threads as there are slots; others wait.

    Args:
        context: the tokens of one conversation, not more than the model was trained for.

    Raises:
        EngineError: llama.cpp cannot load the file; its standard error says why.
    """

    def __init__(self, path: Path, settings: EngineSettings, context: int) -> None:
        # Imported here: it takes 0.3 s and 100 MB of address space.
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.model.path = str(path)
        params.n_ctx, params.n_parallel = context * settings.slots, settings.slots
        params.n_batch = params.n_ubatch = _BATCH
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = settings.computing
        # Without these it would shrink the context to what it thinks fits, and keep 8 GiB of earlier prompts.
        params.fit_params, params.cache_ram_mib = False, 0
        params.warmup = False
        params.verbosity = 1
        # Its own server cannot be left out. It is on a free port of this machine, and nobody gets its key.
        params.port, params.api_keys = 0, [secrets.token_hex(32)]
        params.endpoint_slots = params.ui = False
        try:
            self._server: Any = xllamacpp.Server(params)
        except RuntimeError as error:
            raise EngineError(500, f"llama.cpp cannot load {path.name}") from error
        # A server that is closed before its loop has begun never ends. This also reads the weights for the first time.
        self._server.handle_completions({"prompt": "a", "max_tokens": 1})

    def answer(self, body: Mapping[str, Any], take: Callable[[dict[str, Any]], bool]) -> None:
        """Answer a chat completion request as a stream; `take` gets each chunk and returns whether to stop.

        Chunks with `prompt_progress` come while the prompt is read.

        Raises:
            EngineError: it refuses the request, or fails.
        """
        failure: EngineError | None = None

        def on_chunk(text: str) -> bool:
            nonlocal failure
            chunk = json.loads(text)
            error = chunk.get("error", chunk if "choices" not in chunk and "message" in chunk else None)
            if error is not None:
                failure = EngineError(int(error.get("code") or 500), str(error.get("message") or "llama.cpp failed"))
                return True
            return take(chunk)

        wanted = {**body, "stream": True, "stream_options": {"include_usage": True}, "return_progress": True}
        try:
            self._server.handle_chat_completions(json.dumps(wanted), on_chunk)
        except ValueError as error:
            raise EngineError(400, str(error)) from error
        except RuntimeError as error:
            raise EngineError(500, str(error)) from error
        if failure is not None:
            raise failure

    def close(self) -> None:
        """Free the memory; blocks until the answers in progress have stopped."""
        self._server = None
