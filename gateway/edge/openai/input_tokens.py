"""`POST /v1/responses/input_tokens`: how many tokens a model would read for a response."""

from typing import TYPE_CHECKING

import orjson
from soma.orchestrator.v1.response_service_pb2 import CountResponseTokensRequest

from gateway.edge.media import Holder, held
from gateway.edge.openai.response_request import read_response_request
from gateway.edge.reply import Reply
from services.mesh.call.call import principal

if TYPE_CHECKING:
    from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceAsyncStub


class InputTokens:
    """Answers requests for the number of tokens of a request for a response; one may take `timeout` seconds."""

    def __init__(self, responses: "ResponseServiceAsyncStub", blobs: Holder, timeout: float) -> None:
        self._responses = responses
        self._blobs = blobs
        self._timeout = timeout

    async def answer(self, body: bytes | bytearray, reply: Reply) -> None:
        """Answer with the number, and whether it is estimated.

        Raises:
            MeshError: the request is wrong, policy refuses the input, or the provider failed.
        """
        ask = read_response_request(body, counted=True)
        del body
        asked = ask.request
        async with held(ask.inline, self._blobs, principal().tenant_id):
            # Only now the media that the request has in itself have their hashes.
            request = CountResponseTokensRequest(model=asked.model, input=asked.input, settings=asked.settings)
            counted = await self._responses.CountResponseTokens(request, timeout=self._timeout)
        answer = {
            "object": "response.input_tokens",
            "input_tokens": counted.input_tokens,
            "estimated": counted.estimated,
            "model": counted.model,
        }
        await reply.json(200, orjson.dumps(answer))
