"""What the models of a Triton server are, from their configurations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from services.mesh.call.errors import NotFound, Unavailable
from services.model.triton.server import Server

_log = structlog.get_logger(__name__)

# The parameter of a configuration with the model's name in requests. Without it, the name in the repository counts.
_PUBLIC = "model"


@dataclass(frozen=True)
class Embedding:
    """A loaded model that makes vectors of texts.

    Attributes:
        name: its name in the repository.
        public: its name in requests.
        batch: most texts in one request.
    """

    name: str
    public: str
    batch: int


async def embeddings(server: Server) -> Sequence[Embedding]:
    """The loaded models that make vectors of texts.

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
        if (model := _embedding(configuration)) is not None:
            found.append(model)
    return found


def _embedding(configuration: Any) -> Embedding | None:
    inputs = {each.name for each in configuration.input}
    outputs = {each.name for each in configuration.output}
    if "TEXT" not in inputs or "VECTOR" not in outputs:
        return None
    public = configuration.parameters[_PUBLIC].string_value if _PUBLIC in configuration.parameters else ""
    return Embedding(configuration.name, public or configuration.name, max(1, configuration.max_batch_size))
