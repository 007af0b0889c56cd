"""An embedder that takes its time, for tests."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args):
        pass

    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(each, "TEXT").as_numpy()) for each in requests]

    def _answer(self, texts):
        time.sleep(float(texts[0, 0]))
        one = np.ones((1, 1), np.int32)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("VECTOR", np.ones((1, 4), np.float32)),
                pb_utils.Tensor("NORM", one.astype(np.float32)),
                pb_utils.Tensor("TOKENS", one),
                pb_utils.Tensor("WINDOWS", one),
            ]
        )
