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
    assert kind in {"python", "onnxruntime", "vllm", "tensorrtllm", "ensemble"}
    assert (path.parent / "1" / "model.py").exists() is (kind == "python")
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


@pytest.mark.parametrize("name", ["slm", "llm", "llm_tensorrt", "llm_tensorrt_engine"])
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


def test_inputs_and_parameters_of_tensorrt_llm_are_documented() -> None:
    engine = shipped("llm_tensorrt_engine")
    assert engine.backend == "tensorrtllm"
    assert set(engine.parameters) <= documented.TENSORRT_LLM_PARAMETERS
    assert types(engine.input).items() <= documented.TENSORRT_LLM_INPUTS.items()
    assert types(engine.output).items() <= documented.TENSORRT_LLM_OUTPUTS.items()
    scalars = [each for each in engine.input if each.name != "input_ids"]
    assert all(each.HasField("reshape") and not each.reshape.shape for each in scalars)
    assert types(shipped("llm_tensorrt").input).items() <= documented.TEXT_INPUTS.items()


def test_the_stand_ins_have_the_inputs_and_outputs_of_the_backends() -> None:
    by_vllm = parsed(STAND_INS / "by_vllm" / "config.pbtxt")
    assert types(by_vllm.input) == documented.VLLM_INPUTS
    assert types(by_vllm.output) == documented.VLLM_OUTPUTS
    by_ensemble = parsed(STAND_INS / "by_ensemble" / "config.pbtxt")
    assert types(by_ensemble.input) == documented.TEXT_INPUTS
