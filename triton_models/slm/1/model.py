"""Conversations with a GGUF model, on llama.cpp, in Triton's Python backend. Answers are streamed.

A request waits for a free slot of llama.cpp in its own thread. Before each piece of its answer, the model looks whether
a request `{"cancel": ID}` has named this one. An empty piece ends the answer.
"""

import json
import os
import secrets
import subprocess
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
import xllamacpp

# Requests that may wait; each one holds a thread.
WAITING = 64
CANCEL = b'{"cancel":'


def _engine(folder: Path, parameters: dict[str, str]) -> Any:
    """llama.cpp with a model.

    Raises:
        RuntimeError: the file is no GGUF file, or not of a known architecture.
    """
    weights = folder / parameters["weights"]
    if not weights.exists():
        raise RuntimeError(f"there is no file {weights}")
    slots = int(parameters["slots"])
    settings = xllamacpp.CommonParams()
    settings.model.path = str(weights)
    # Shared by the slots.
    settings.n_ctx = int(parameters["context"]) * slots
    settings.n_parallel = slots
    settings.cpuparams.n_threads = int(parameters["threads"]) or max(1, (os.cpu_count() or 2) - 1)
    settings.cpuparams_batch.n_threads = settings.cpuparams.n_threads
    settings.n_gpu_layers = int(parameters["gpu_layers"])
    settings.use_jinja = True
    # It also serves HTTP on a port of 127.0.0.1, where nobody has this key.
    settings.api_keys = [secrets.token_hex(32)]
    settings.verbosity = -1
    return xllamacpp.Server(settings)


def _end_with_server() -> None:
    """Have a shell end this process when the server has gone. A thread that waits for it for ever may hold the GIL."""
    watch = 'while kill -0 "$0"; do kill -0 "$1" || exit 0; sleep 1; done; kill -9 "$1"'
    quiet = subprocess.DEVNULL
    who = str(os.getppid()), str(os.getpid())
    subprocess.Popen(["/bin/sh", "-c", watch, *who], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model; an exception refuses it, and Triton reports its text."""
        _end_with_server()
        configuration = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in configuration["parameters"].items()}
        self._engine = _engine(Path(args["model_repository"], args["model_version"]), parameters)
        self._threads = ThreadPoolExecutor(int(parameters["slots"]) + WAITING, thread_name_prefix="answer")
        self._underway: set[Future[None]] = set()
        # Requests whose callers have left.
        self._cancelled: set[str] = set()

    def execute(self, requests: list[Any]) -> None:
        """Begin to answer. The answers are sent later, by their threads."""
        for request in requests:
            sender = request.get_response_sender()
            asked = pb_utils.get_input_tensor_by_name(request, "REQUEST").as_numpy().ravel()[0]
            if asked.startswith(CANCEL):
                self._cancelled.add(json.loads(asked)["cancel"])
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
                continue
            task = self._threads.submit(self._answer, sender, asked.decode(errors="replace"), request.request_id())
            self._underway.add(task)
            task.add_done_callback(self._underway.discard)

    def finalize(self) -> None:
        """Wait for the answers: Triton unloads a model when it has no requests."""
        self._threads.shutdown()

    def _answer(self, sender: Any, asked: str, name: str) -> None:
        def send(chunk: Any) -> bool:
            """Send a piece; return whether llama.cpp is to stop."""
            if name in self._cancelled or sender.is_cancelled():
                return True
            sender.send(_chunk((chunk if isinstance(chunk, str) else json.dumps(chunk)).encode()))
            return False

        try:
            if name not in self._cancelled and not sender.is_cancelled():
                self._engine.handle_chat_completions(asked, send)
        except Exception as error:
            # The caller is told, and the other answers go on.
            said = pb_utils.TritonError(f"llama.cpp: {error}")
            sender.send(pb_utils.InferenceResponse(error=said), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        else:
            sender.send(_chunk(b""), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        finally:
            self._cancelled.discard(name)


def _chunk(text: bytes) -> Any:
    return pb_utils.InferenceResponse([pb_utils.Tensor("CHUNK", np.array([text], np.object_))])
