"""`POST /v1/responses/compact`: a conversation in a shorter form, as the input of the next response."""

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Required

import orjson
from soma.orchestrator.v1.response_service_pb2 import CompactResponseRequest, CompactResponseResponse
from typing_extensions import TypedDict

from gateway.edge.disconnect import CancelOnDisconnect
from gateway.edge.media import Attached, Holder, Inline, held
from gateway.edge.openai.input_items import input_item
from gateway.edge.openai.response_items import ResponseItems, add_inputs
from gateway.edge.openai.response_object import usage_object
from gateway.edge.openai.words import BODY
from gateway.edge.reply import Reply
from gateway.edge.request_model import Reader, strict
from services.mesh.call.call import principal
from services.mesh.transport.departure import Departure
from services.messages.message import media_of

if TYPE_CHECKING:
    from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceAsyncStub


@strict
class CompactionRequest(TypedDict, total=False):
    """The parameters; null is the same as an absent parameter."""

    model: Required[str]
    input: ResponseItems | None
    previous_response_id: str | None
    instructions: str | None
    # What clients repeat of the request for a response: it changes nothing in a summary.
    parallel_tool_calls: bool | None
    prompt_cache_key: str | None
    prompt_cache_options: dict[str, Any] | None
    prompt_cache_retention: str | None
    reasoning: dict[str, Any] | None
    service_tier: str | None
    text: dict[str, Any] | None
    tools: list[Any] | None


READER = Reader(CompactionRequest, BODY)


class Compaction:
    """Answers requests to compact a conversation; one may take `timeout` seconds."""

    def __init__(self, responses: "ResponseServiceAsyncStub", blobs: Holder, timeout: float) -> None:
        self._responses = responses
        self._blobs = blobs
        self._timeout = timeout

    async def answer(self, body: bytes | bytearray, departure: Departure, reply: Reply) -> None:
        """Answer with the compacted conversation.

        Raises:
            MeshError: the request is wrong, the model failed, or the client left (Cancelled).
        """
        given = READER.json(body)
        # A body with pictures is large, and the answer may take minutes.
        del body
        request = CompactResponseRequest(
            model=given["model"],
            previous_response_id=given.get("previous_response_id") or "",
            instructions=given.get("instructions") or "",
        )
        attached = Attached()
        if (asked := given.get("input")) is not None:
            add_inputs(request.input, asked, attached)
        del given, asked
        async with held(attached.inline, self._blobs, principal().tenant_id):
            async with CancelOnDisconnect(departure):
                made = await self._responses.CompactResponse(request, timeout=self._timeout)
            await self._put_back(made, attached.inline)
        await reply.json(200, orjson.dumps(_object(made)))

    async def _put_back(self, made: CompactResponseResponse, inline: list[Inline]) -> None:
        """Give media the bytes that the request had in itself: nobody keeps them for the client."""
        hashes = {each.media.hash for each in inline}
        for media in media_of(item.message for item in made.items):
            if media.hash in hashes:
                data = await self._blobs.read(principal().tenant_id, media.hash)
                media.url = f"data:{media.media_type};base64,{b64encode(data).decode()}"


def _object(made: CompactResponseResponse) -> dict[str, Any]:
    compaction = made.compaction
    return {
        "id": made.compaction_id,
        "object": "response.compaction",
        "created_at": made.create_time.seconds,
        "output": [
            *(input_item(item, encrypted=False) for item in made.items),
            {
                "id": compaction.item_id,
                "type": "compaction",
                "encrypted_content": compaction.encrypted_content,
                "created_by": made.model,
                "replaced_items": compaction.replaced_items,
            },
        ],
        "usage": usage_object(made.usage),
    }
