"""Encoders of a repository: embedders and rerankers, alone or as ensembles with their tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tritonclient.grpc import model_config_pb2

from services.model.adapters.triton.deployment.deployed import Embedder, Reranker
from services.model.adapters.triton.deployment.template import Made

_NUMBERS = {"float32": model_config_pb2.TYPE_FP32, "float16": model_config_pb2.TYPE_FP16}
_IDS = {"int32": model_config_pb2.TYPE_INT32, "int64": model_config_pb2.TYPE_INT64}
_COLUMNS = frozenset({"input_ids", "attention_mask", "token_type_ids"})
_TOKEN_TYPES = "token_type_ids"
_GRAPHS = {"onnxruntime": "model.onnx", "tensorrt": "model.plan"}


def embedder(name: str, given: Embedder) -> Sequence[Made]:
    """A model that makes vectors of texts."""
    if given.runs_on == "python":
        made = _alone("embedder", name, given)
        made.set({"pooling": given.pooling})
        return [made]
    parts = _ensemble("embedder_gpu", name, given, ("tokenizer", "graph", "pooling"))
    whole, _, graph, pooling = parts
    output, hidden = graph.configuration.output[0], pooling.configuration.input[0]
    output.name = given.output or output.name
    output.data_type = hidden.data_type = _NUMBERS[given.numbers]
    if given.pooled:
        for each in (output, hidden):
            each.ClearField("dims")
            each.dims.append(-1)
    _rename_output(whole.configuration.ensemble_scheduling.step[1], output.name)
    pooling.set({"pooling": given.pooling})
    pooling.configuration.input[1].data_type = _IDS[given.ids]
    return parts


def reranker(name: str, given: Reranker) -> Sequence[Made]:
    """A model that says how well documents fit a question."""
    if given.runs_on == "python":
        return [_alone("reranker", name, given)]
    parts = _ensemble("reranker_gpu", name, given, ("tokenizer", "graph"))
    whole, _, graph = parts
    output = graph.configuration.output[0]
    output.name = given.output or output.name
    output.data_type = whole.configuration.output[0].data_type = _NUMBERS[given.numbers]
    _rename_output(whole.configuration.ensemble_scheduling.step[1], output.name)
    return parts


def _alone(template: str, name: str, given: Embedder | Reranker) -> Made:
    """A model of the Python backend, which runs the graph itself."""
    made = Made.like(template, name)
    made.configuration.max_batch_size = given.max_batch
    made.configuration.instance_group[0].count = given.instances
    made.set(
        {
            "model": given.model or name,
            "graph": given.graph,
            "tokenizer": given.tokenizer,
            "max_tokens": given.max_tokens,
            "output": given.output,
        }
    )
    return made


def _ensemble(template: str, name: str, given: Embedder | Reranker, parts: Sequence[str]) -> list[Made]:
    """An ensemble, and its parts in the order of its steps."""
    whole = Made.like(template, name)
    whole.set({"model": given.model or name})
    made = [whole, *(Made.like(f"{template}_{part}", f"{name}_{part}") for part in parts)]
    for each in made:
        each.configuration.max_batch_size = given.max_batch
    for step, part in zip(whole.configuration.ensemble_scheduling.step, made[1:], strict=True):
        step.model_name = part.name
    _, tokenizer, graph, *_ = made
    tokenizer.set({"tokenizer": given.tokenizer, "max_tokens": given.max_tokens, "pad_to": given.pad_to})
    graph.configuration.backend = given.runs_on
    graph.configuration.instance_group[0].count = given.instances
    graph.links[_GRAPHS[given.runs_on]] = given.graph
    _set_columns(whole, tokenizer, graph, given)
    return made


def _set_columns(whole: Made, tokenizer: Made, graph: Made, given: Embedder | Reranker) -> None:
    """Give the tokens their type, and leave out the input that the graph does not have."""
    for holder in (tokenizer.configuration.output, graph.configuration.input):
        for column in list(holder):
            if column.name in _COLUMNS:
                column.data_type = _IDS[given.ids]
            if column.name == _TOKEN_TYPES and not given.token_types:
                holder.remove(column)
    if not given.token_types:
        first, second = whole.configuration.ensemble_scheduling.step[:2]
        first.output_map.pop(_TOKEN_TYPES)
        second.input_map.pop(_TOKEN_TYPES)


def _rename_output(step: Any, name: str) -> None:
    """Read another output of the graph."""
    ((before, target),) = step.output_map.items()
    if before != name:
        step.output_map.pop(before)
        step.output_map[name] = target
