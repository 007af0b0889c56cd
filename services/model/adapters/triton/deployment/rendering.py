"""Writes a model repository for a Triton elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from services.model.adapters.triton.deployment.deployed import (
    Deployed,
    Embedder,
    LlamaCpp,
    Reranker,
    TensorRtLlm,
    Vllm,
    read,
    wrong,
)
from services.model.adapters.triton.deployment.encoders import embedder, reranker
from services.model.adapters.triton.deployment.language import llama_cpp, tensorrt_llm, vllm
from services.model.adapters.triton.deployment.template import Made


def render(file: Path, repository: Path, *, replace: bool = False) -> Sequence[str]:
    """Write the models of a file of settings as folders of a repository; return their names.

    Args:
        file: see `services.model.adapters.triton.deployment.deployed`.
        repository: a folder, made if there is none. Other models in it stay.
        replace: whether a folder of the same name is replaced.

    Raises:
        FailedPrecondition: a setting is wrong, or such a folder is there; nothing was written then.
    """
    made = [each for name, given in read(file).items() for each in _made(name, given)]
    names = [each.name for each in made]
    if len(set(names)) != len(names):
        raise wrong(f"{file}: two models have the same name: {', '.join(sorted(names))}")
    there = [name for name in names if (repository / name).exists()]
    if there and not replace:
        raise wrong(f"{repository} has {', '.join(there)} already; with --replace they are made anew")
    for each in made:
        shutil.rmtree(repository / each.name, ignore_errors=True)
        each.write(repository)
    return names


def _made(name: str, given: Deployed) -> Iterator[Made]:
    match given:
        case Vllm():
            yield from vllm(name, given)
        case TensorRtLlm():
            yield from tensorrt_llm(name, given)
        case LlamaCpp():
            yield from llama_cpp(name, given)
        case Embedder():
            yield from embedder(name, given)
        case Reranker():
            yield from reranker(name, given)
