"""Language models of a repository."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from services.model.adapters.triton.deployment.deployed import LlamaCpp, TensorRtLlm, Vllm, wrong
from services.model.adapters.triton.deployment.template import Made


def vllm(name: str, given: Vllm) -> Sequence[Made]:
    """A model on the vLLM backend: its configuration, and the arguments of vLLM's engine as `model.json`.

    Raises:
        FailedPrecondition: `engine` has an argument that is a setting, or the chat template cannot be read.
    """
    made = Made.like("llm", name)
    made.set(_parameters(name, given))
    arguments: dict[str, Any] = {
        "model": given.weights,
        "dtype": given.dtype,
        "tensor_parallel_size": given.tensor_parallel,
        "pipeline_parallel_size": given.pipeline_parallel,
        "max_model_len": given.context,
        "max_num_seqs": given.max_sequences,
        "gpu_memory_utilization": given.gpu_memory,
    }
    if given.prefix_caching is not None:
        arguments["enable_prefix_caching"] = given.prefix_caching
    if given.quantization is not None:
        arguments["quantization"] = given.quantization
    if twice := sorted(arguments.keys() & given.engine.keys()):
        raise wrong(f"{name}.engine: {', '.join(twice)} is one of the settings of the model")
    made.files["model.json"] = json.dumps({**arguments, **given.engine}, indent=2) + "\n"
    return [made]


def tensorrt_llm(name: str, given: TensorRtLlm) -> Sequence[Made]:
    """A model on the TensorRT-LLM backend: the engine, and before it a model that makes tokens of texts and back.

    Raises:
        FailedPrecondition: the chat template cannot be read.
    """
    front, engine = Made.like("llm_tensorrt", name), Made.like("llm_tensorrt_engine", f"{name}_engine")
    front.set(_parameters(name, given))
    front.set(
        {
            "engine": engine.name,
            "tokenizer": given.tokenizer,
            "end_token": given.end_token,
            "slots": given.max_batch,
        }
    )
    engine.configuration.max_batch_size = given.max_batch
    engine.set(
        {
            "gpt_model_path": given.weights,
            "kv_cache_free_gpu_mem_fraction": given.kv_cache,
            "max_tokens_in_paged_kv_cache": given.kv_cache_tokens,
            "enable_kv_cache_reuse": given.kv_cache_reuse,
            "enable_chunked_context": given.chunked_context,
            "gpu_device_ids": ",".join(map(str, given.gpus)),
        }
    )
    return [front, engine]


def llama_cpp(name: str, given: LlamaCpp) -> Sequence[Made]:
    """A model on llama.cpp in the Python backend."""
    made = Made.like("slm", name)
    made.set(
        {
            "model": given.model or name,
            "weights": given.weights,
            "context": given.context,
            "slots": given.slots,
            "threads": given.threads,
            "gpu_layers": given.gpu_layers,
        }
    )
    return [made]


def _parameters(name: str, given: Vllm | TensorRtLlm) -> dict[str, object]:
    return {
        "model": given.model or name,
        "context": given.context,
        "answer_tokens": given.answer_tokens,
        "chat_template": _text(given.chat_template, name),
        "bos_token": given.bos_token or None,
        "eos_token": given.eos_token or None,
    }


def _text(file: Path | None, name: str) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(f"{name}.chat_template: {file} cannot be read: {error}") from error
