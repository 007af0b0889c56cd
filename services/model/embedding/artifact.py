"""The graph on disk: built once for each content of the weights, by one process, seen by others only when whole."""

import fcntl
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

# Raised whenever what the builder writes changes.
BUILDER_VERSION = 2
BUILD_SECONDS = 300

log = structlog.get_logger()

Precision = Literal["int8", "fp32"]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A directory with the graph and the tokenizer it was trained with."""

    directory: Path

    @property
    def model(self) -> Path:
        """The ONNX graph."""
        return self.directory / "model.onnx"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer's description."""
        return self.directory / "tokenizer.json"


def prepared(weights: Weights, precision: Precision, directory: Path) -> Artifact:
    """The artifact of `weights` under `directory`, built now if it is not there; takes seconds then.

    Raises:
        FailedPrecondition: it cannot be built; reason EMBEDDING_BUILD_FAILED.
    """
    artifact = Artifact(directory / f"{precision}-{BUILDER_VERSION}-{weights.digest()[:16]}")
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


def _build(weights: Weights, precision: Precision, artifact: Artifact) -> None:
    partial = Artifact(artifact.directory.with_name("partial"))
    shutil.rmtree(partial.directory, ignore_errors=True)  # what a killed build left
    partial.directory.mkdir()
    shutil.copyfile(weights.tokenizer, partial.tokenizer)
    log.info("embedding_graph_building", precision=precision)
    command = [sys.executable, "-m", "services.model.embedding.builder"]
    command += [str(weights.tensors), str(weights.tokenizer), str(partial.model), precision]
    built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if built.returncode != 0:
        why = (built.stderr.strip().splitlines() or [f"exit status {built.returncode}"])[-1]
        raise _failed(why)
    partial.directory.rename(artifact.directory)


def _failed(why: str) -> FailedPrecondition:
    return FailedPrecondition(f"the embedding graph could not be built: {why}", reason=reasons.EMBEDDING_BUILD_FAILED)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds a lock between processes; the system drops it with the process."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
