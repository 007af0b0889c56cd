"""The models of a repository: a TOML file with a table for each, `[NAME]`, whose `kind` says which settings it has.

    [chat]
    kind = "vllm"
    weights = "/models/Llama-3.1-8B-Instruct"
    chat_template = "llama-3.jinja"

Paths of weights, graphs and tokenizers are those of the machine with the server, and need not exist where the file is
read. Those of chat templates are read, from the folder of the file on.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from soma.errors.v1 import reasons

from services.mesh.call.errors import FailedPrecondition

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
Tokens = Annotated[int, Field(ge=1, le=10_000_000)]
Many = Annotated[int, Field(ge=1, le=65_536)]
Share = Annotated[float, Field(gt=0, le=1)]
Text = Annotated[str, StringConstraints(min_length=1)]
Type = Literal["int32", "int64"]


class _Model(BaseModel):
    """What every model has: `model`, its name in requests; that in the repository if it is not given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = ""


class _Language(_Model):
    """A model that continues prompts.

    Attributes:
        context: most tokens of a conversation and its answer.
        answer_tokens: most tokens of an answer when the caller sets no limit.
        chat_template: file with its Jinja template. The models' own are in their `chat_template.jinja`, or in
            `tokenizer_config.json`. Without one, the model only continues prompts.
        bos_token: text for `bos_token` in the template; servers add that token themselves.
        eos_token: text for `eos_token` in the template.
    """

    context: Tokens
    answer_tokens: Tokens = 1024
    chat_template: Path | None = None
    bos_token: str = ""
    eos_token: str = ""


class Vllm(_Language):
    """A model on the vLLM backend.

    Attributes:
        weights: folder of the weights, or their name on Hugging Face.
        dtype: type of the weights in memory: auto, bfloat16, float16 or float32.
        tensor_parallel: GPUs that share each layer.
        pipeline_parallel: groups of GPUs that have the layers one after the other.
        gpu_memory: share of the memory of each GPU that vLLM takes, weights and cache together.
        max_sequences: answers that are made at the same time.
        prefix_caching: whether the beginnings of prompts are computed once; None for vLLM's default.
        quantization: how the weights are quantised, such as fp8 or awq; None for what the weights say.
        engine: further arguments of vLLM's engine, by their names there.
    """

    kind: Literal["vllm"]
    weights: Text
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    tensor_parallel: Many = 1
    pipeline_parallel: Many = 1
    gpu_memory: Share = 0.9
    max_sequences: Many = 256
    prefix_caching: bool | None = None
    quantization: str | None = None
    engine: Mapping[str, bool | int | float | str] = Field(default_factory=dict)


class TensorRtLlm(_Language):
    """A model on TensorRT-LLM, by its LLM API.

    Attributes:
        weights: folder of the weights, or their name on Hugging Face.
        program: folder with `model.py` and `helpers.py`: triton_backend/all_models/llmapi/tensorrt_llm/1 of
            github.com/NVIDIA/TensorRT-LLM, of the version in the container.
        dtype: type of the weights in memory: auto, bfloat16, float16 or float32.
        tensor_parallel: GPUs that share each layer.
        pipeline_parallel: groups of GPUs that have the layers one after the other.
        max_batch: answers that are made at the same time.
        kv_cache: share of the memory of a GPU that is free after the weights, for the cache of keys and values.
        kv_cache_tokens: most tokens in that cache; None for as many as its memory has.
        kv_cache_reuse: whether the beginnings of prompts are computed once.
        chunked_prefill: whether long prompts are read in pieces, so that other answers go on meanwhile.
        arguments: further arguments of its `LLM`, by their names there.
    """

    kind: Literal["tensorrt_llm"]
    weights: Text
    program: Text
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    tensor_parallel: Many = 1
    pipeline_parallel: Many = 1
    max_batch: Many = 64
    kv_cache: Share = 0.9
    kv_cache_tokens: Tokens | None = None
    kv_cache_reuse: bool = True
    chunked_prefill: bool = True
    arguments: Mapping[str, bool | int | float | str] = Field(default_factory=dict)


class LlamaCpp(_Model):
    """A model on llama.cpp in the Python backend.

    Attributes:
        weights: GGUF file.
        context: most tokens of a conversation and its answer.
        slots: answers that are made at the same time.
        threads: threads that compute; 0 for one less than there are processors.
        gpu_layers: layers that a GPU computes, where llama.cpp was built for GPUs; -1 for all.
    """

    kind: Literal["llama.cpp"]
    weights: Text
    context: Tokens = 4096
    slots: Many = 4
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    gpu_layers: Annotated[int, Field(ge=-1, le=10_000)] = 0


class _Encoder(_Model):
    """A graph with a tokenizer.

    Attributes:
        runs_on: the Python backend with ONNX Runtime; or an ensemble of a tokenizer and the graph, which is on the
            backend for ONNX Runtime or for TensorRT.
        graph: the file: ONNX, or with TensorRT a plan.
        tokenizer: file `tokenizer.json` of the model.
        max_batch: most texts or pairs in a batch.
        instances: processes of the Python backend, or copies of the graph on the GPU.
        output: the output of the graph that counts; with the Python backend empty for the first.
        numbers: type of that output, on the other backends.
        ids: type of the numbers of tokens that the graph takes, on the other backends.
        token_types: whether the graph has the input `token_type_ids`, on the other backends.
        pad_to: rows are padded to a multiple of so many tokens, on the other backends.
    """

    runs_on: Literal["python", "onnxruntime", "tensorrt"] = "python"
    graph: Text
    tokenizer: Text
    max_batch: Many = 64
    instances: Many = 1
    output: str = ""
    numbers: Literal["float32", "float16"] = "float32"
    ids: Type = "int64"
    token_types: bool = True
    pad_to: Many = 32


class Embedder(_Encoder):
    """A model that makes vectors of texts.

    Attributes:
        max_tokens: with the Python backend, longer texts are read in windows of so many tokens; else they are refused.
        pooling: how the vectors of tokens become one: their mean, that of the first token, or that of the last.
        pooled: whether the output of the graph has one vector for each text already, on the other backends.
    """

    kind: Literal["embedder"]
    max_tokens: Tokens = 256
    pooling: Literal["mean", "cls", "last"] = "mean"
    pooled: bool = False


class Reranker(_Encoder):
    """A model that says how well documents fit a question. `max_tokens`: longer pairs are cut."""

    kind: Literal["reranker"]
    max_tokens: Tokens = 512


Deployed: TypeAlias = Annotated[
    Vllm | TensorRtLlm | LlamaCpp | Embedder | Reranker, Field(discriminator="kind", description="a model")
]
_MODELS: TypeAdapter[dict[Name, Deployed]] = TypeAdapter(dict[Name, Deployed])


def read(file: Path) -> Mapping[str, Deployed]:
    """The models of a file, by their names in the repository. Their `chat_template` is a whole path.

    Raises:
        FailedPrecondition: it cannot be read, or a setting is missing, unknown or wrong; the message names it.
    """
    try:
        given: dict[str, Any] = tomllib.loads(file.read_text("utf-8"))
        found = _MODELS.validate_python(given)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise wrong(f"{file} cannot be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(each) for each in first["loc"])
        raise wrong(f"{file}: {where}: {first['msg']}") from error
    if not found:
        raise wrong(f"{file} has no table for a model")
    return {name: _placed(each, file.parent) for name, each in found.items()}


def wrong(why: str) -> FailedPrecondition:
    """The error for settings that cannot be used."""
    return FailedPrecondition(why, reason=reasons.TRITON_SETTINGS_INVALID)


def _placed(model: Deployed, folder: Path) -> Deployed:
    if isinstance(model, _Language) and model.chat_template is not None:
        return model.model_copy(update={"chat_template": folder / model.chat_template})
    return model
