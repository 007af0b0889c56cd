"""Conversations with a GGUF model, on llama.cpp, in Triton's Python backend. Answers are streamed.

Each slot of llama.cpp has a thread, and requests wait for one: first those for which somebody waits. Before each piece
of an answer, the model looks whether a request `{"cancel": ID}` has named its request. An empty piece ends the answer.
"""

import json
import math
import os
import secrets
import subprocess
import time
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from queue import PriorityQueue
from threading import Thread
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
import xllamacpp

# Requests that may wait for a slot.
WAITING = 1024
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


@dataclass(order=True, frozen=True)
class Asked:
    """A request, in the order in which they are answered: those for which nobody waits come last.

    Attributes:
        background: whether nobody waits for the answer: OpenAI's `"service_tier": "flex"`.
        number: how many came before.
        text: the request of OpenAI's chat completions, as JSON.
        name: its id, which a request to cancel it has.
        until: when its caller waits no longer, by the monotonic clock.
        sender: takes the pieces of its answer.
    """

    background: bool
    number: int
    text: str = field(default="", compare=False)
    name: str = field(default="", compare=False)
    until: float = field(default=math.inf, compare=False)
    sender: Any = field(default=None, compare=False)


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model; an exception refuses it, and Triton reports its text."""
        _end_with_server()
        configuration = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in configuration["parameters"].items()}
        self._engine = _engine(Path(args["model_repository"], args["model_version"]), parameters)
        self._numbers = count()
        self._waiting: PriorityQueue[Asked] = PriorityQueue()
        # Those of the queue that still wait, by name; and the names of those that are answered, and of those among
        # them whose callers have left.
        self._held: dict[str, Asked] = {}
        self._running: set[str] = set()
        self._cancelled: set[str] = set()
        self._threads = [Thread(target=self._work, name=f"answer {slot}") for slot in range(int(parameters["slots"]))]
        for each in self._threads:
            each.start()

    def execute(self, requests: list[Any]) -> None:
        """Take requests. The answers are sent later, by the threads."""
        for request in requests:
            sender = request.get_response_sender()
            asked = pb_utils.get_input_tensor_by_name(request, "REQUEST").as_numpy().ravel()[0]
            if asked.startswith(CANCEL):
                self._cancel(json.loads(asked)["cancel"])
                sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            elif len(self._held) >= WAITING:
                _refuse(sender, f"Exceeds maximum queue size of {WAITING} requests")
            else:
                self._put(asked, request, sender)

    def finalize(self) -> None:
        """End the threads: Triton unloads a model when it has no requests."""
        for _ in self._threads:
            self._waiting.put(Asked(background=True, number=next(self._numbers)))
        for each in self._threads:
            each.join()

    def _put(self, text: bytes, request: Any, sender: Any) -> None:
        number, microseconds = next(self._numbers), request.timeout()
        name = request.request_id() or f"number {number}"
        until = time.monotonic() + microseconds / 1e6 if microseconds else math.inf
        asked = Asked(_in_background(text), number, text.decode(errors="replace"), name, until, sender)
        self._held[name] = asked
        self._waiting.put(asked)

    def _cancel(self, name: str) -> None:
        waiting = self._held.pop(name, None)
        if waiting is not None:
            _end(waiting.sender)
        elif name in self._running:
            self._cancelled.add(name)

    def _work(self) -> None:
        """Answer one request after the other, until one without a sender."""
        while (asked := self._waiting.get()).sender is not None:
            # Before it is taken, so that whoever cancels it finds it in one of the two.
            self._running.add(asked.name)
            if self._held.pop(asked.name, None) is not None:
                self._answer(asked)
            self._running.discard(asked.name)
            self._cancelled.discard(asked.name)

    def _answer(self, asked: Asked) -> None:
        def left() -> bool:
            return asked.name in self._cancelled or asked.sender.is_cancelled()

        def send(chunk: Any) -> bool:
            """Send a piece; return whether llama.cpp is to stop."""
            if left():
                return True
            asked.sender.send(_chunk((chunk if isinstance(chunk, str) else json.dumps(chunk)).encode()))
            return False

        if time.monotonic() > asked.until:
            _refuse(asked.sender, "Request timeout expired")
            return
        try:
            if not left():
                self._engine.handle_chat_completions(asked.text, send)
        except Exception as error:
            # The caller is told, and the other answers go on.
            _refuse(asked.sender, f"llama.cpp: {error}")
        else:
            _end(asked.sender)


def _in_background(asked: bytes) -> bool:
    try:
        body = json.loads(asked)
    except ValueError:
        # llama.cpp says what is wrong.
        return False
    return isinstance(body, dict) and body.get("service_tier") == "flex"


def _end(sender: Any) -> None:
    sender.send(_chunk(b""), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _refuse(sender: Any, why: str) -> None:
    error = pb_utils.TritonError(why)
    sender.send(pb_utils.InferenceResponse(error=error), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _chunk(text: bytes) -> Any:
    return pb_utils.InferenceResponse([pb_utils.Tensor("CHUNK", np.array([text], np.object_))])
