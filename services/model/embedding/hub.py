"""MiniLM's weights from the Hugging Face hub, or from its copy on this machine when it does not answer."""

from pathlib import Path

from httpx2 import HTTPError
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError

from services.model.embedding.architecture import HUB_REPOSITORY
from services.model.embedding.weights import Weights, WeightsMissing

TIMEOUT_SECONDS = 2.0


def hub_weights(cache: Path, endpoint: str) -> Weights:
    """The checkpoint of the repository's main branch.

    Raises:
        WeightsMissing: the hub does not answer, or not with these files, and `cache` holds no copy.
    """
    try:
        tensors, tokenizer = (
            Path(
                hf_hub_download(HUB_REPOSITORY, file, cache_dir=cache, endpoint=endpoint, etag_timeout=TIMEOUT_SECONDS)
            )
            for file in ("model.safetensors", "tokenizer.json")
        )
    except (EntryNotFoundError, HTTPError, OSError) as error:
        raise WeightsMissing(f"{endpoint} gave no {HUB_REPOSITORY} ({type(error).__name__})") from error
    return Weights(tensors, tokenizer)
