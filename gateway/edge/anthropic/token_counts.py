"""`POST /v1/messages/count_tokens`: how many tokens a model would read, from ModelService.CountTokens."""

from typing import TYPE_CHECKING, Any

import orjson

from gateway.edge.anthropic.request import read_count_request
from gateway.edge.anthropic.thoughts import Thoughts
from gateway.edge.media import Holder, held
from gateway.edge.reply import Reply
from services.mesh.call.call import principal

if TYPE_CHECKING:
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub


class TokenCounts:
    """Answers requests for the number of tokens from a ModelService."""

    def __init__(self, model: "ModelServiceAsyncStub", blobs: Holder, thoughts: Thoughts, timeout: float) -> None:
        self._model = model
        self._blobs = blobs
        self._thoughts = thoughts
        self._timeout = timeout

    async def answer(self, body: bytes | bytearray, betas: str | None, reply: Reply) -> None:
        """Answer one request; `betas` is its header `anthropic-beta`.

        Raises:
            MeshError: the request is wrong, or the model service failed.
        """
        request, inline = read_count_request(body, betas, self._thoughts)
        async with held(inline, self._blobs, principal().tenant_id):
            counted = await self._model.CountTokens(request, timeout=self._timeout)
        found: dict[str, Any] = {"input_tokens": counted.input_tokens}
        if counted.estimated:
            found["estimated"] = True
        await reply.json(200, orjson.dumps(found))
