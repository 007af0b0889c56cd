"""Gets MiniLM's weights from the Hugging Face hub, or from the local copy if the hub does not answer."""

from pathlib import Path

import httpx2
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from services.model.embedding.architecture import HUB_REPOSITORY
from services.model.embedding.weights import Weights, WeightsMissing

TIMEOUT_SECONDS = 2.0


def hub_weights(cache: Path, endpoint: str) -> Weights:
    """The checkpoint of the repository's main branch.

    Raises:
        WeightsMissing: the hub does not give these files, and `cache` has no copy.
    """
    # The client of the hub would try for twenty seconds, with any timeout, so the hub is tested first.
    offline = not _answers(endpoint)

    def file(name: str) -> Path:
        return Path(hf_hub_download(HUB_REPOSITORY, name, cache_dir=cache, endpoint=endpoint, local_files_only=offline))

    try:
        return Weights(file("model.safetensors"), file("tokenizer.json"))
    except (EntryNotFoundError, httpx2.HTTPError, OSError) as error:
        raise WeightsMissing(f"{endpoint} gave no {HUB_REPOSITORY} ({type(error).__name__})") from error


def _answers(endpoint: str) -> bool:
    try:
        httpx2.head(f"{endpoint}/{HUB_REPOSITORY}/resolve/main/tokenizer.json", timeout=TIMEOUT_SECONDS)
    except (httpx2.HTTPError, httpx2.InvalidURL):
        return False
    return True
