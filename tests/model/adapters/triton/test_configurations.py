"""Every model's configuration is read by the parser of Triton's own client, and says what its model needs."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from services.model.adapters.triton.discovery import served_by
from services.model.adapters.triton.repository import MODELS

CONFIGURATIONS = sorted(MODELS.glob("*/config.pbtxt"))


def parsed(path: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse(path.read_text("utf-8"), model_config_pb2.ModelConfig())


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.parent.name)
def test_a_configuration_names_its_folder_and_has_its_program(path: Path) -> None:
    configuration = parsed(path)
    assert configuration.name == path.parent.name
    assert configuration.backend == "python"
    assert (path.parent / "1" / "model.py").exists()
    assert served_by(configuration) is not None


def test_texts_of_concurrent_callers_are_batched_and_late_ones_refused() -> None:
    embedder = parsed(MODELS / "embedder" / "config.pbtxt")
    policy = embedder.dynamic_batching.default_queue_policy
    assert embedder.max_batch_size > 1
    assert policy.allow_timeout_override
    assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT


def test_the_language_model_streams() -> None:
    assert parsed(MODELS / "slm" / "config.pbtxt").model_transaction_policy.decoupled
