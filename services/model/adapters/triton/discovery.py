"""What the models of a Triton server are, from their configurations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import structlog

from services.mesh.call.errors import NotFound, Unavailable
from services.model.adapters.triton.prompting import Prompting
from services.model.adapters.triton.server import Server

_log = structlog.get_logger(__name__)

Kind: TypeAlias = Literal["embedding", "chat", "prompt", "rerank"]
# The tensors by which a model is known: one of its inputs and one of its outputs.
_TENSORS: tuple[tuple[str, str, Kind], ...] = (
    ("TEXT", "VECTOR", "embedding"),
    ("REQUEST", "CHUNK", "chat"),
    ("text_input", "text_output", "prompt"),
    ("QUERY", "SCORE", "rerank"),
)


@dataclass(frozen=True)
class Served:
    """A loaded model that the mesh can use.

    Attributes:
        name: its name in the repository.
        public: its name in requests: the parameter `model` of its configuration, else its name in the repository.
        kind: what it does.
        batch: most texts in one request, of an embedding model; most documents, of one that sorts them.
        context: most tokens of a conversation, of a chat model; 0 when not known.
        prompting: how a model that continues a prompt is asked; None for all others.
        background: the priority of requests for which nobody waits, which is its lowest; 0 if it knows no priorities.
    """

    name: str
    public: str
    kind: Kind
    batch: int = 1
    context: int = 0
    prompting: Prompting | None = None
    background: int = 0


async def served(server: Server) -> Sequence[Served]:
    """The loaded models that the mesh can use.

    Raises:
        MeshError: the server does not answer.
    """
    found = []
    for name in dict.fromkeys(each.name for each in await server.models() if each.ready):
        try:
            configuration = await server.configuration(name)
        except (NotFound, Unavailable) as error:
            # It was unloaded in between.
            _log.info("triton_model_left_out", model=name, why=error.message)
            continue
        if (model := served_by(configuration)) is not None:
            found.append(model)
    return found


def served_by(configuration: Any) -> Served | None:
    """The model with a `ModelConfig`; None for a model of which the mesh does not know what it does."""
    inputs = {each.name for each in configuration.input}
    outputs = {each.name for each in configuration.output}
    kind = next((kind for taken, given, kind in _TENSORS if taken in inputs and given in outputs), None)
    if kind is None:
        return None
    parameters = {name: value.string_value for name, value in configuration.parameters.items()}
    context = parameters.get("context", "")
    return Served(
        configuration.name,
        parameters.get("model") or configuration.name,
        kind,
        max(1, configuration.max_batch_size),
        int(context) if context.isdecimal() else 0,
        prompting=Prompting.of(configuration, parameters) if kind == "prompt" else None,
        background=configuration.dynamic_batching.priority_levels,
    )
