"""The graph on disk. One process builds it, once for each version of the weights; others see only a complete graph."""

import fcntl
import hashlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog
from soma.errors.v1 import reasons

from services.mesh.call.errors import FailedPrecondition
from services.model.embedding.weights import Weights

# Increased when the output of the builder changes.
BUILDER_VERSION = 3
BUILD_SECONDS = 300

log = structlog.get_logger()

Precision = Literal["int8", "fp32"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A directory with the graph and its tokenizer."""

    directory: Path

    @property
    def model(self) -> Path:
        """The ONNX graph."""
        return self.directory / "model.onnx"

    @property
    def tokenizer(self) -> Path:
        """The file of the tokenizer."""
        return self.directory / "tokenizer.json"


def prepared(weights: Weights, precision: Precision, directory: Path) -> Artifact:
    """The artifact of `weights` under `directory`. If it does not exist, it is built, which takes seconds.

    Raises:
        FailedPrecondition: the graph cannot be built; reason EMBEDDING_BUILD_FAILED.
    """
    artifact = Artifact(directory / f"{precision}-{BUILDER_VERSION}-{weights.digest()[:16]}-{_processor()}")
    if artifact.directory.is_dir():
        return artifact
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with _locked(directory / "lock"):
            if not artifact.directory.is_dir():
                _build(weights, precision, artifact)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(str(error)) from error
    return artifact


def _processor() -> str:
    """A digest of what the processor can do: a graph that is exact on one may be inexact on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return hashlib.sha256(features.encode()).hexdigest()[:8]


def _build(weights: Weights, precision: Precision, artifact: Artifact) -> None:
    partial = Artifact(artifact.directory.with_name("partial"))
    shutil.rmtree(partial.directory, ignore_errors=True)  # left by a killed build
    partial.directory.mkdir()
    shutil.copyfile(weights.tokenizer, partial.tokenizer)
    log.info("embedding_graph_building", precision=precision)
    command = [sys.executable, "-m", "services.model.embedding.builder"]
    command += [str(weights.tensors), str(weights.tokenizer), str(partial.model), precision]
    built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if built.returncode != 0:
        why = (built.stderr.strip().splitlines() or [f"exit status {built.returncode}"])[-1]
        raise _failed(why)
    # On a processor where int8 is inexact the graph has float32, and takes longer.
    log.info("embedding_graph_built", precision=precision, weights=built.stdout.strip())
    partial.directory.rename(artifact.directory)


def _failed(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"the embedding graph could not be built: {why}", reason=reasons.EMBEDDING_BUILD_FAILED)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock between processes; the system releases it when the process ends."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
