"""Language models of a repository."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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
    made.files["model.json"] = _with(arguments, given.engine, f"{name}.engine")
    return [made]


def tensorrt_llm(name: str, given: TensorRtLlm) -> Sequence[Made]:
    """A model on TensorRT-LLM: its configuration, the arguments of its `LLM` as `model.yaml`, and links to its program.

    Raises:
        FailedPrecondition: `arguments` has one that is a setting, or the chat template cannot be read.
    """
    made = Made.like("llm_tensorrt", name)
    made.set(_parameters(name, given))
    cache: dict[str, Any] = {
        "free_gpu_memory_fraction": given.kv_cache,
        "enable_block_reuse": given.kv_cache_reuse,
    }
    if given.kv_cache_tokens is not None:
        cache["max_tokens"] = given.kv_cache_tokens
    arguments: dict[str, Any] = {
        "model": given.weights,
        "backend": "pytorch",
        "dtype": given.dtype,
        "tensor_parallel_size": given.tensor_parallel,
        "pipeline_parallel_size": given.pipeline_parallel,
        "max_seq_len": given.context,
        "max_batch_size": given.max_batch,
        "enable_chunked_prefill": given.chunked_prefill,
        "kv_cache_config": cache,
        # Requests are batched by TensorRT-LLM.
        "triton_config": {"max_batch_size": 0, "decoupled": True},
    }
    # JSON is YAML too.
    made.files["model.yaml"] = _with(arguments, given.arguments, f"{name}.arguments")
    made.links |= {file: f"{given.program}/{file}" for file in ("model.py", "helpers.py")}
    return [made]


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


def _with(arguments: Mapping[str, Any], further: Mapping[str, Any], where: str) -> str:
    """The arguments and further ones, as JSON."""
    if twice := sorted(arguments.keys() & further.keys()):
        raise wrong(f"{where}: {', '.join(twice)} is one of the settings of the model")
    return json.dumps({**arguments, **further}, indent=2) + "\n"


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
