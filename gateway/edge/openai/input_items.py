"""`GET /v1/responses/{id}/input_items`: the input of a stored response, in OpenAI's form."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import Field
from soma.model.v1.message_pb2 import ROLE_ASSISTANT, ROLE_SYSTEM, ROLE_TOOL, ROLE_USER
from soma.orchestrator.v1.response_service_pb2 import ListResponseInputItemsRequest, ResponseInputItem
from typing_extensions import TypedDict

from gateway.edge.openai.query import Number, QueryReader
from gateway.edge.reply import Reply
from gateway.edge.request_model import strict

if TYPE_CHECKING:
    from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceAsyncStub

ROLES = {ROLE_SYSTEM: "system", ROLE_USER: "user"}
# The default size of a page in OpenAI's API.
USUAL = 20


@strict
class Listing(TypedDict, total=False):
    """The query parameters, with OpenAI's limits."""

    after: str
    include: str
    includes: Annotated[str, Field(alias="include[]")]
    limit: Annotated[Number, Field(ge=1, le=100)]
    order: Literal["desc", "asc"]


LISTING = QueryReader(Listing)


class InputItems:
    """Answers requests for input items from a ResponseService."""

    def __init__(self, responses: "ResponseServiceAsyncStub", patience: float) -> None:
        self._responses = responses
        self._patience = patience

    async def list_items(self, response_id: str, query: bytes, reply: Reply) -> None:
        """Answer with a page of items, the newest first unless `order` says otherwise.

        Raises:
            InvalidArgument: a query parameter is not valid; the error names it.
            MeshError: there is no such response.
        """
        asked = LISTING.query(query)
        request = ListResponseInputItemsRequest(
            response_id=response_id,
            page_size=asked.get("limit", USUAL),
            page_token=asked.get("after", ""),
            newest_first=asked.get("order") != "asc",
        )
        page = await self._responses.ListResponseInputItems(request, timeout=self._patience)
        items = [_item(item) for item in page.items]
        answer = {
            "object": "list",
            "data": items,
            "first_id": items[0]["id"] if items else None,
            "last_id": items[-1]["id"] if items else None,
            "has_more": bool(page.next_page_token),
        }
        await reply.json(200, orjson.dumps(answer))


def _item(item: ResponseInputItem) -> dict[str, Any]:
    message = item.message
    members: dict[str, Any] = {"id": item.item_id, "status": "completed"}
    if message.role == ROLE_TOOL:
        return members | {"type": "function_call_output", "call_id": message.tool_call_id, "output": message.content}
    if message.tool_calls:
        call = message.tool_calls[0]
        return members | {
            "type": "function_call",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments,
        }
    if message.role == ROLE_ASSISTANT:
        part = {"type": "output_text", "text": message.content, "annotations": [], "logprobs": []}
        return members | {"type": "message", "role": "assistant", "content": [part]}
    part = {"type": "input_text", "text": message.content}
    return members | {"type": "message", "role": ROLES[message.role], "content": [part]}
