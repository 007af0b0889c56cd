"""The models as Triton's Python backend runs them: `embed`, which is batched by Triton, and `write`, which streams."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
import triton_python_backend_utils as pb_utils

from bench.gpu.engine import Engine
from bench.gpu.llama import SHAPES, Llama, dtype_of


def _model(args: dict[str, str]) -> tuple[Llama, dict[str, str]]:
    given = json.loads(args["model_config"])["parameters"]
    parameters = {name: value["string_value"] for name, value in given.items()}
    device = parameters["device"]
    return Llama(SHAPES[parameters["shape"]], device, dtype_of(device)), parameters


class Embed:
    """`IDS` (n, t) to `VECTOR` (n, d)."""

    def initialize(self, args: dict[str, str]) -> None:
        """Make the model."""
        self._model, _ = _model(args)

    def execute(self, requests: list[Any]) -> list[Any]:
        """The vectors of all requests of a batch, which have the same length, in one run."""
        rows = [pb_utils.get_input_tensor_by_name(request, "IDS").as_numpy() for request in requests]
        ids = torch.from_numpy(np.concatenate(rows).astype(np.int64)).to(self._model.device)
        found = self._model.vectors(ids).cpu().numpy()
        answers, begin = [], 0
        for row in rows:
            part = np.ascontiguousarray(found[begin : begin + len(row)])
            answers.append(pb_utils.InferenceResponse([pb_utils.Tensor("VECTOR", part)]))
            begin += len(row)
        return answers


class Write:
    """`IDS` (t,) and `TOKENS` (1,) to a stream of `TOKEN` (1,)."""

    def initialize(self, args: dict[str, str]) -> None:
        """Make the model and its engine."""
        model, parameters = _model(args)
        self._engine = Engine(model, int(parameters["rows"]), int(parameters["longest"]))

    def execute(self, requests: list[Any]) -> None:
        """Begin to write. The tokens are sent by the engine's thread."""
        for request in requests:
            ids, tokens = (pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in ("IDS", "TOKENS"))
            self._engine.write(
                ids.ravel().tolist(), int(tokens.ravel()[0]), _Sender(request.get_response_sender()).send
            )

    def finalize(self) -> None:
        """End the engine."""
        self._engine.close()


class _Sender:
    """Sends tokens to one caller."""

    def __init__(self, sender: Any) -> None:
        self._sender = sender

    def send(self, token: int, last: bool) -> None:
        answer = pb_utils.InferenceResponse([pb_utils.Tensor("TOKEN", np.array([token], np.int32))])
        self._sender.send(answer, pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if last else 0)
