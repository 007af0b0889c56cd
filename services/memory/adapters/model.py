"""Vectors from the model service."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from soma.errors.v1 import reasons
from soma.model.v1 import model_service_pb2 as pb
from soma.model.v1.options_pb2 import URGENCY_INTERACTIVE, Urgency

from services.memory.embedder import DIMENSIONS, Vector
from services.mesh.call import errors
from services.mesh.call.call import current_call, run_as
from services.mesh.call.principal import Principal

if TYPE_CHECKING:
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub

# The contract's limit on one Embed.
_TEXTS = 100
_SCOPES = frozenset({"execute:models"})


class ModelEmbedder:
    """An `Embedder` over ModelService.Embed.

    Memory calls it as its own principal, because a caller that may use memory need not have the scope for models.
    """

    def __init__(
        self,
        stub: "ModelServiceAsyncStub",
        timeout: float,
        urgency: "Urgency.ValueType" = URGENCY_INTERACTIVE,
    ) -> None:
        self._stub = stub
        self._timeout = timeout
        self._urgency = urgency

    async def embed(self, tenant_id: str, texts: Sequence[str]) -> list[Vector]:
        call = current_call()
        left = call.remaining() if call is not None else None
        timeout = self._timeout if left is None else min(self._timeout, left)
        vectors: list[Vector] = []
        with run_as(
            Principal(tenant_id, "memory", scopes=_SCOPES), trace=call.trace if call else None, timeout=timeout
        ):
            for start in range(0, len(texts), _TEXTS):
                vectors += await self._batch(texts[start : start + _TEXTS], timeout)
        return vectors

    async def _batch(self, texts: Sequence[str], timeout: float) -> list[Vector]:
        response = await self._stub.Embed(pb.EmbedRequest(input=texts, urgency=self._urgency), timeout=timeout)
        if response.vector_length != DIMENSIONS or len(response.vectors) != len(texts):
            raise errors.FailedPrecondition(
                f"{response.model} gives vectors of {response.vector_length} dimensions, memory keeps {DIMENSIONS}",
                reason=reasons.EMBEDDING_DIMENSIONS,
            )
        return [list(vector.embedding) for vector in response.vectors]
