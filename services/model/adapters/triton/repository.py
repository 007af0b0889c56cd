"""The model repository of the server that a stack starts: models of `triton_models`, with the files that they need."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from services.model.adapters.triton.settings import SOURCE
from services.model.embedding.artifact import prepared
from services.model.embedding.settings import EmbeddingSettings
from services.model.embedding.weights import find_weights
from services.model.llm.files import packaged

MODELS = SOURCE / "triton_models"
EMBEDDER, LANGUAGE = "embedder", "slm"
# The other models need files or backends that the stack's server does not have.
OWN = (EMBEDDER, LANGUAGE)
VERSION = "1"


def prepare(folder: Path, load: Sequence[str], embedding: EmbeddingSettings, gguf: Path | None = None) -> None:
    """Make the repository in `folder` anew, from the models of this project.

    Args:
        folder: the repository; what is in it is deleted.
        load: names of the models that are loaded at the start. The vectors' graph is built for the embedder only.
        embedding: where the graph is kept, and its precision.
        gguf: weights of the language model; those of SmolLM2 if not given.

    Raises:
        FailedPrecondition: there are no weights, or the graph cannot be built.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for name in OWN:
        shutil.copytree(MODELS / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    if EMBEDDER in load:
        weights = find_weights(embedding.weights, embedding.directory / "hub", embedding.hub)
        artifact = prepared(weights, embedding.precision, embedding.directory / "minilm")
        for file in (artifact.model, artifact.tokenizer):
            (folder / EMBEDDER / VERSION / file.name).symlink_to(file.absolute())
    own = packaged()
    language = gguf or (own.path if own is not None else None)
    if language is not None:
        (folder / LANGUAGE / VERSION / "model.gguf").symlink_to(language.absolute())
