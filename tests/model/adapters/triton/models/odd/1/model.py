"""An embedder whose answers are not what they should be, for tests."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args):
        pass

    def execute(self, requests):
        return [self._answer(pb_utils.get_input_tensor_by_name(each, "TEXT").as_numpy()) for each in requests]

    def _answer(self, texts):
        rows = len(texts)
        word = texts[0, 0].decode()
        if word == "nan":
            vectors = np.full((rows, 4), np.nan, np.float32)
        elif word == "fewer":
            vectors, rows = np.ones((rows + 1, 4), np.float32), rows + 1
        else:
            vectors = np.ones((rows, int(word)), np.float32)
        ones = np.ones((rows, 1), np.int32)
        return pb_utils.InferenceResponse(
            [
                pb_utils.Tensor("VECTOR", vectors),
                pb_utils.Tensor("NORM", ones.astype(np.float32)),
                pb_utils.Tensor("TOKENS", ones),
                pb_utils.Tensor("WINDOWS", ones),
            ]
        )
