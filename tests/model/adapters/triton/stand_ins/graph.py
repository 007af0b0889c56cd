"""Runs an ONNX file in the Python backend in the place of Triton's ONNX Runtime backend, which its wheel lacks."""

import json
from pathlib import Path

import triton_python_backend_utils as pb_utils
from onnxruntime import InferenceSession


class TritonPythonModel:
    """What Triton calls."""

    def initialize(self, args):
        file = Path(args["model_repository"], args["model_version"], "model.onnx")
        configuration = json.loads(args["model_config"])
        self.session = InferenceSession(str(file), providers=["CPUExecutionProvider"])
        self.inputs = [each["name"] for each in configuration["input"]]
        (output,) = configuration["output"]
        self.output, self.type = output["name"], pb_utils.triton_string_to_numpy(output["data_type"])

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        fed = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
        (found,) = self.session.run([self.output], fed)
        return pb_utils.InferenceResponse([pb_utils.Tensor(self.output, found.astype(self.type, copy=False))])
