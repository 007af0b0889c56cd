"""Fixtures: the graph of the model, built once in a run, and the reference vectors."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from services.model.embedding.artifact import Artifact, Precision, prepared
from services.model.embedding.weights import packaged_weights


@dataclass(frozen=True)
class Reference:
    """Texts, and their vectors from the original implementation."""

    texts: list[str]
    vectors: NDArray[np.float32]


@pytest.fixture(scope="session")
def reference() -> Reference:
    items = json.loads(Path(__file__).with_name("reference.json").read_text("utf-8"))["items"]
    return Reference([item["text"] for item in items], np.array([item["embedding"] for item in items], np.float32))


@pytest.fixture(scope="session")
def directory(data_dir: Path) -> Path:
    """The folder of the models, shared by all tests of the run."""
    return data_dir / "models"


@pytest.fixture(scope="session")
def artifact_of(directory: Path) -> Callable[[Precision], Artifact]:
    """Build the graph of a precision, once."""

    @cache
    def build(precision: Precision) -> Artifact:
        return prepared(packaged_weights(), precision, directory / "minilm")

    return build
