"""The graph is built once for each version of the weights, and is visible only when it is complete."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from services.mesh.call.errors import FailedPrecondition
from services.model.embedding.artifact import Artifact, Precision, prepared
from services.model.embedding.weights import Weights, packaged_weights

PREPARE = """
import sys
from pathlib import Path
from services.model.embedding.artifact import prepared
from services.model.embedding.weights import packaged_weights
print(prepared(packaged_weights(), "fp32", Path(sys.argv[1])).directory)
"""


async def _prepare(directory: Path) -> tuple[str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PREPARE, str(directory), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    lines = out.decode().splitlines()
    return lines[-1], out.decode() + err.decode()


async def test_two_processes_that_start_together_build_one_graph(tmp_path: Path) -> None:
    (first, first_log), (second, second_log) = await asyncio.gather(_prepare(tmp_path), _prepare(tmp_path))
    assert first == second
    assert (first_log + second_log).count("embedding_graph_building") == 1
    assert Artifact(Path(first)).model.is_file()


def test_the_files_of_a_killed_build_are_not_used(artifact_of: Callable[[Precision], Artifact], tmp_path: Path) -> None:
    partial = tmp_path / "partial"
    partial.mkdir()
    (partial / "model.onnx").write_bytes(b"half")
    built = prepared(packaged_weights(), "int8", tmp_path)
    assert built.model.read_bytes() == artifact_of("int8").model.read_bytes()
    assert not partial.exists()


def test_a_built_graph_is_used_without_building(artifact_of: Callable[[Precision], Artifact], directory: Path) -> None:
    built = artifact_of("int8")
    changed = built.model.stat().st_mtime_ns
    assert prepared(packaged_weights(), "int8", directory / "minilm") == built
    assert built.model.stat().st_mtime_ns == changed


def test_other_weights_are_another_graph(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not a checkpoint")
    (tmp_path / "tokenizer.json").write_text("{}")
    broken = Weights(tmp_path / "model.safetensors", tmp_path / "tokenizer.json")
    assert broken.digest() != packaged_weights().digest()
    with pytest.raises(FailedPrecondition) as refused:
        prepared(broken, "fp32", tmp_path / "minilm")
    assert refused.value.reason == "EMBEDDING_BUILD_FAILED"
    assert "safetensors" in refused.value.message.lower() or "header" in refused.value.message.lower()
