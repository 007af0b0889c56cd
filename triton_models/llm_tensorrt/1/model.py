"""A language model on the TensorRT-LLM backend as one that takes and gives text, in Triton's Python backend.

It makes tokens of the prompt, asks the engine for a stream of new tokens, and sends the text that they add. A stop
sequence is looked for in the text, because it may begin and end inside of tokens; then, and when the caller has gone,
the engine is told to stop.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils
from numpy.typing import NDArray
from tokenizers import Tokenizer

# Requests that may wait; each one holds a thread.
WAITING = 64
# The sampling by the names of the inputs here, with the names of the engine.
SAMPLING = {
    "temperature": "temperature",
    "top_k": "runtime_top_k",
    "top_p": "runtime_top_p",
    "repetition_penalty": "repetition_penalty",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
}


@dataclass(frozen=True)
class Asked:
    """A request. `name` is its id, `most` its most tokens, and `sampling` has the names of the engine's inputs."""

    name: str
    prompt: str
    most: int
    stops: list[str]
    streams: bool
    sampling: dict[str, NDArray[Any]]

    @classmethod
    def of(cls, request: Any) -> "Asked":
        """What a request of Triton asks for."""
        stops, stream = _value(request, "stop_words"), _value(request, "stream")
        given = {engine: _value(request, name) for name, engine in SAMPLING.items()}
        return cls(
            # The engine is told to stop by the id, so each request has one.
            request.request_id() or os.urandom(16).hex(),
            _value(request, "text_input").ravel()[0].decode(errors="replace"),
            int(_value(request, "max_tokens").ravel()[0]),
            [each.decode(errors="replace") for each in stops.ravel()] if stops is not None else [],
            stream is not None and bool(stream.ravel()[0]),
            {name: value for name, value in given.items() if value is not None},
        )


class Text:
    """The text of tokens that come one after the other."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        # A token may be written in another way at the beginning of a text, so the last ones are always written again.
        self._begin = self._done = 0

    def add(self, ids: list[int]) -> str:
        """The text that these tokens add; empty while they end in the middle of a character."""
        self._ids += ids
        before = self._tokenizer.decode(self._ids[self._begin : self._done])
        now = self._tokenizer.decode(self._ids[self._begin :])
        if len(now) <= len(before) or now.endswith("\ufffd"):
            return ""
        self._begin, self._done = self._done, len(self._ids)
        return now[len(before) :]

    def end(self) -> str:
        """What is left."""
        before = self._tokenizer.decode(self._ids[self._begin : self._done])
        return self._tokenizer.decode(self._ids[self._begin :])[len(before) :]


class Stops:
    """Looks for stop sequences in a text that comes in pieces."""

    def __init__(self, stops: list[str]) -> None:
        self._stops = [each for each in stops if each]
        self._held = ""
        self.met = False

    def pass_(self, piece: str) -> str:
        """What can be sent: nothing from a stop sequence on, and nothing that may be the beginning of one."""
        text = self._held + piece
        found = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if found:
            self.met = True
            self._held = ""
            return text[: min(found)]
        held = max(
            (size for stop in self._stops for size in range(1, len(stop)) if text.endswith(stop[:size])), default=0
        )
        self._held = text[len(text) - held :]
        return text[: len(text) - held]

    def end(self) -> str:
        """What was held back."""
        return self._held


def _end_with_server() -> None:
    """Have a shell end this process when the server has gone. A thread that waits for it for ever may hold the GIL."""
    watch = 'while kill -0 "$0"; do kill -0 "$1" || exit 0; sleep 1; done; kill -9 "$1"'
    quiet = subprocess.DEVNULL
    who = str(os.getppid()), str(os.getpid())
    subprocess.Popen(["/bin/sh", "-c", watch, *who], stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the tokenizer; an exception refuses the model, and Triton reports its text."""
        _end_with_server()
        configuration = json.loads(args["model_config"])
        parameters = {name: value["string_value"] for name, value in configuration["parameters"].items()}
        folder = Path(args["model_repository"], args["model_version"])
        self._tokenizer = Tokenizer.from_file(str(folder / parameters["tokenizer"]))
        self._engine = parameters["engine"]
        self._end = self._tokenizer.token_to_id(parameters["end_token"])
        if self._end is None:
            raise ValueError(
                f"the tokenizer has no token {parameters['end_token']}, which the parameter end_token names"
            )
        self._threads = ThreadPoolExecutor(int(parameters["slots"]) + WAITING, thread_name_prefix="answer")

    def execute(self, requests: list[Any]) -> None:
        """Begin to answer. The answers are sent later, by their threads."""
        for request in requests:
            self._threads.submit(self._answer, request.get_response_sender(), Asked.of(request))

    def finalize(self) -> None:
        """Wait for the answers: Triton unloads a model when it has no requests."""
        self._threads.shutdown()

    def _answer(self, sender: Any, asked: Asked) -> None:
        try:
            self._write(sender, asked)
        except Exception as error:
            # The caller is told, and the other answers go on.
            said = pb_utils.TritonError(str(error))
            sender.send(pb_utils.InferenceResponse(error=said), pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _write(self, sender: Any, asked: Asked) -> None:
        ids = self._tokenizer.encode(asked.prompt).ids
        text, stops = Text(self._tokenizer), Stops(asked.stops)
        # Text and tokens that were not sent yet, and all tokens.
        waiting, uncounted, written = "", 0, 0
        tokens = self._tokens(ids, asked)
        for new in tokens:
            written += len(new)
            uncounted += len(new)
            waiting += stops.pass_(text.add(new))
            if stops.met or sender.is_cancelled():
                self._stop(ids, asked.name, tokens)
                break
            if asked.streams and waiting:
                sender.send(_piece(waiting, len(ids), uncounted))
                waiting, uncounted = "", 0
        if not stops.met:
            # The last characters may be those of a stop sequence too.
            waiting += stops.pass_(text.end())
        if not stops.met:
            waiting += stops.end()
        reason = "length" if written >= asked.most and not stops.met else "stop"
        last = _piece(waiting, len(ids), uncounted, reason)
        sender.send(last, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _tokens(self, ids: list[int], asked: Asked) -> Iterator[list[int]]:
        """The new tokens, as the engine writes them, without that of the end.

        Raises:
            RuntimeError: the engine failed.
        """
        inputs = self._inputs(ids, asked.most)
        inputs += [pb_utils.Tensor(name, np.array([[True]])) for name in ("streaming", "exclude_input_in_output")]
        inputs += [pb_utils.Tensor(name, value.reshape(1, 1)) for name, value in asked.sampling.items()]
        for answer in self._asked(inputs, ["output_ids", "sequence_length"], asked.name):
            new = pb_utils.get_output_tensor_by_name(answer, "output_ids").as_numpy()[0, 0]
            length = pb_utils.get_output_tensor_by_name(answer, "sequence_length").as_numpy()[0, 0]
            yield [each for each in new[:length].tolist() if each != self._end]

    def _stop(self, ids: list[int], name: str, tokens: Iterator[list[int]]) -> None:
        """Tell the engine to stop with the request of this name, and read the rest of its answer."""
        stop = [*self._inputs(ids[:1], 1), pb_utils.Tensor("stop", np.array([[True]]))]
        for left in (self._asked(stop, ["output_ids"], name), tokens):
            # An engine may say that it was stopped as an error.
            with suppress(RuntimeError):
                for _ in left:
                    continue

    def _inputs(self, ids: list[int], most: int) -> list[Any]:
        numbers = {"input_lengths": len(ids), "request_output_len": most, "end_id": self._end, "pad_id": self._end}
        return [
            pb_utils.Tensor("input_ids", np.array([ids], np.int32)),
            *(pb_utils.Tensor(each, np.array([[value]], np.int32)) for each, value in numbers.items()),
        ]

    def _asked(self, inputs: list[Any], outputs: list[str], name: str) -> Iterator[Any]:
        request = pb_utils.InferenceRequest(
            model_name=self._engine, inputs=inputs, requested_output_names=outputs, request_id=name
        )
        for answer in request.exec(decoupled=True):
            if answer.has_error():
                raise RuntimeError(f"TensorRT-LLM: {answer.error().message()}")
            if answer.output_tensors():
                yield answer


def _value(request: Any, name: str) -> NDArray[Any] | None:
    tensor = pb_utils.get_input_tensor_by_name(request, name)
    return tensor.as_numpy() if tensor is not None else None


def _piece(text: str, read: int, written: int, reason: str = "") -> Any:
    columns: dict[str, NDArray[Any]] = {
        "text_output": np.array([text.encode()], np.object_),
        "finish_reason": np.array([reason.encode()], np.object_),
        "num_input_tokens": np.array([read], np.int32),
        "num_output_tokens": np.array([written], np.int32),
    }
    return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in columns.items()])
