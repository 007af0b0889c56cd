"""The ways that need no server: plain PyTorch, and the program of the Python backend called in this process."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, Queue
from types import ModuleType
from typing import Any

import numpy as np
import torch

from bench.gpu.configurations import EMBED, MOST, WRITE, parameters
from bench.gpu.engine import Engine
from bench.gpu.llama import SHAPES, Llama, dtype_of
from bench.gpu.task import Task

BACKEND = "triton_python_backend_utils"


class Plain:
    """PyTorch itself: the model, and the engine that writes many conversations at the same time."""

    def __init__(self, task: Task) -> None:
        self._model = Llama(SHAPES[task.shape], task.device, dtype_of(task.device))
        self._engine = Engine(self._model, MOST, task.longest)

    def embed(self, texts: Sequence[Sequence[int]]) -> None:
        self._model.vectors(torch.tensor([list(text) for text in texts], device=self._model.device)).cpu().numpy()

    def write(self, ids: Sequence[int], tokens: int) -> Iterator[int]:
        return streamed(lambda emit: self._engine.write(ids, tokens, emit))

    def close(self) -> None:
        """Release the memory of the GPU."""
        self._engine.close()
        del self._model, self._engine
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def streamed(begin: Callable[[Callable[[int, bool], None]], None]) -> Iterator[int]:
    """The tokens that a function emits from another thread."""
    queue: Queue[tuple[int, bool]] = Queue()
    begin(lambda token, last: queue.put((token, last)))
    last = False
    while not last:
        token, last = queue.get()
        yield token


class InProcess:
    """The program of the Python backend without a server: requests are handed over in this process, and batched."""

    def __init__(self, task: Task) -> None:
        sys.modules[BACKEND] = _backend()
        from bench.gpu import served

        self._embed, self._write = served.Embed(), served.Write()
        for model, name in ((self._embed, EMBED), (self._write, WRITE)):
            model.initialize({"model_config": json.dumps({"parameters": parameters(task, name)})})
        self._waiting: Queue[_Request | None] = Queue()
        self._thread = threading.Thread(target=self._batch, daemon=True)
        self._thread.start()

    def embed(self, texts: Sequence[Sequence[int]]) -> None:
        request = _Request({"IDS": np.array(texts, np.int32)})
        self._waiting.put(request)
        answer, _ = request.answers.get()
        answer.tensors["VECTOR"].as_numpy()

    def write(self, ids: Sequence[int], tokens: int) -> Iterator[int]:
        request = _Request({"IDS": np.array(ids, np.int32), "TOKENS": np.array([tokens], np.int32)})
        self._write.execute([request])
        last = False
        while not last:
            answer, last = request.answers.get()
            yield int(answer.tensors["TOKEN"].as_numpy()[0])

    def close(self) -> None:
        """End the threads."""
        self._waiting.put(None)
        self._thread.join()
        self._write.finalize()

    def _batch(self) -> None:
        """What came while the model ran is the next batch, as Triton's dynamic batching does it."""
        while True:
            requests = [self._waiting.get()]
            try:
                while len(requests) < MOST:
                    requests.append(self._waiting.get_nowait())
            except Empty:
                pass
            given = [each for each in requests if each is not None]
            if given:
                for request, answer in zip(given, self._embed.execute(given), strict=True):
                    request.answers.put((answer, True))
            if len(given) < len(requests):
                return


class _Tensor:
    """As in the module that Triton gives its models."""

    def __init__(self, name: str, array: Any) -> None:
        self.name = name
        self._array = array

    def as_numpy(self) -> Any:
        return self._array


class _Response:
    """The same."""

    def __init__(self, tensors: Sequence[_Tensor]) -> None:
        self.tensors = {each.name: each for each in tensors}


class _Request:
    """A request, and its own sender."""

    def __init__(self, inputs: dict[str, Any]) -> None:
        self.inputs = {name: _Tensor(name, array) for name, array in inputs.items()}
        self.answers: Queue[tuple[Any, bool]] = Queue()

    def get_response_sender(self) -> _Request:
        return self

    def send(self, answer: Any, flags: int) -> None:
        self.answers.put((answer, bool(flags)))


def _backend() -> ModuleType:
    """The module that Triton gives its models, as far as these use it."""
    module: Any = ModuleType(BACKEND)
    module.Tensor, module.InferenceResponse = _Tensor, _Response
    module.get_input_tensor_by_name = lambda request, name: request.inputs[name]
    module.TRITONSERVER_RESPONSE_COMPLETE_FINAL = 1
    found: ModuleType = module
    return found
