"""Every model's configuration is read by the parser of Triton's own client, and says what its model needs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from services.model.adapters.triton.discovery import served_by
from services.model.adapters.triton.repository import MODELS
from tests.model.adapters.triton import documented
from tests.model.adapters.triton.ensembles import check_ensemble
from tests.model.adapters.triton.server import MODELS as STAND_INS

CONFIGURATIONS = sorted(MODELS.glob("*/config.pbtxt"))
# What the mesh does with the models; the others are parts of these.
KINDS = {
    "embedder": "embedding",
    "embedder_gpu": "embedding",
    "llm_tensorrt": "prompt",
    "reranker": "rerank",
    "reranker_gpu": "rerank",
    "slm": "chat",
}


def parsed(path: Path) -> Any:
    return text_format.Parse(path.read_text("utf-8"), model_config_pb2.ModelConfig())


def shipped(name: str) -> Any:
    return parsed(MODELS / name / "config.pbtxt")


def types(tensors: Any) -> Mapping[str, int]:
    return {each.name: each.data_type for each in tensors}


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.parent.name)
def test_a_configuration_names_its_folder_and_has_its_program(path: Path) -> None:
    configuration = parsed(path)
    assert configuration.name == path.parent.name
    kind = configuration.backend or configuration.platform
    assert kind in {"python", "onnxruntime", "vllm", "ensemble"}
    # The program for TensorRT-LLM comes with it.
    has_program = kind == "python" and configuration.name != "llm_tensorrt"
    assert (path.parent / "1" / "model.py").exists() is has_program
    # The version has a folder in every checkout, also without a program.
    assert any((path.parent / "1").iterdir())
    served = served_by(configuration)
    assert (served.kind if served is not None else None) == KINDS.get(configuration.name)


def test_every_kind_of_model_is_there() -> None:
    assert {path.parent.name for path in CONFIGURATIONS} >= {*KINDS, "llm"}


@pytest.mark.parametrize("name", ["embedder", "reranker", "embedder_gpu_graph", "reranker_gpu_graph"])
def test_requests_of_concurrent_callers_are_batched_and_late_ones_refused(name: str) -> None:
    configuration = shipped(name)
    policy = configuration.dynamic_batching.default_queue_policy
    assert configuration.max_batch_size > 1
    assert policy.allow_timeout_override
    assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT


@pytest.mark.parametrize("name", ["slm", "llm"])
def test_language_models_stream(name: str) -> None:
    assert shipped(name).model_transaction_policy.decoupled


@pytest.mark.parametrize("name", ["embedder_gpu", "reranker_gpu"])
def test_an_ensemble_connects_what_its_parts_have(name: str) -> None:
    check_ensemble(shipped(name), shipped)


def test_arguments_of_vllm_are_documented() -> None:
    arguments = json.loads((MODELS / "llm" / "1" / "model.json").read_text())
    assert arguments.keys() <= documented.VLLM_ARGUMENTS
    configuration = shipped("llm")
    assert configuration.backend == "vllm"
    # vLLM batches, and takes the GPUs that it wants.
    assert configuration.max_batch_size == 0
    assert configuration.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_MODEL
    # The backend adds them.
    assert not configuration.input and not configuration.output
    assert configuration.parameters["context"].string_value == str(arguments["max_model_len"])


def test_inputs_and_arguments_of_tensorrt_llm_are_documented() -> None:
    configuration = shipped("llm_tensorrt")
    assert types(configuration.input).items() <= documented.TENSORRT_LLM_INPUTS.items()
    assert types(configuration.output).items() <= documented.TENSORRT_LLM_OUTPUTS.items()
    # Its program sets both, from `model.yaml`.
    assert not configuration.max_batch_size and not configuration.HasField("model_transaction_policy")
    lines = (MODELS / "llm_tensorrt" / "1" / "model.yaml").read_text().splitlines()
    arguments = {line.partition(":")[0] for line in lines if not line.startswith(" ")}
    assert arguments <= documented.TENSORRT_LLM_ARGUMENTS | {"triton_config"}
    assert "  decoupled: true" in lines
    assert f"max_seq_len: {configuration.parameters['context'].string_value}" in lines


def test_the_stand_ins_have_the_inputs_and_outputs_of_the_backends() -> None:
    by_vllm = parsed(STAND_INS / "by_vllm" / "config.pbtxt")
    assert types(by_vllm.input) == documented.VLLM_INPUTS
    assert types(by_vllm.output) == documented.VLLM_OUTPUTS
    by_ensemble = parsed(STAND_INS / "by_ensemble" / "config.pbtxt")
    assert types(by_ensemble.input) == documented.TEXT_INPUTS
