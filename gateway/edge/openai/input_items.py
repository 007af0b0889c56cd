"""`GET /v1/responses/{id}/input_items`: the input of a stored response, in OpenAI's form."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import Field
from soma.model.v1.message_pb2 import (
    ROLE_ASSISTANT,
    ROLE_SYSTEM,
    ROLE_TOOL,
    ROLE_USER,
    Media,
    Message,
    Part,
    Text,
)
from soma.orchestrator.v1.response_service_pb2 import ListResponseInputItemsRequest, ResponseInputItem
from typing_extensions import TypedDict

from gateway.edge.media import SOUNDS, kept_id
from gateway.edge.openai.completion import extra_content
from gateway.edge.openai.query import Number, QueryReader, includes
from gateway.edge.openai.response_object import annotations, phase_member, reasoning_object
from gateway.edge.openai.response_request import ENCRYPTED
from gateway.edge.reply import Reply
from gateway.edge.request_model import strict

if TYPE_CHECKING:
    from soma.orchestrator.v1.response_service_pb2_grpc import ResponseServiceAsyncStub

FORMATS = {media_type: name for name, media_type in reversed(SOUNDS.items())}
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
        items = [input_item(item, encrypted=includes(query, ENCRYPTED)) for item in page.items]
        answer = {
            "object": "list",
            "data": items,
            "first_id": items[0]["id"] if items else None,
            "last_id": items[-1]["id"] if items else None,
            "has_more": bool(page.next_page_token),
        }
        await reply.json(200, orjson.dumps(answer))


def input_item(item: ResponseInputItem, *, encrypted: bool) -> dict[str, Any]:
    """An item that a response was made from; with `encrypted`, a thought has its `encrypted_content`.

    A medium whose address is a data URL has its bytes in itself.
    """
    if item.compaction:
        return {"id": item.item_id, "type": "compaction", "encrypted_content": item.compaction}
    message = item.message
    members: dict[str, Any] = {"id": item.item_id, "status": "completed"}
    if message.role == ROLE_TOOL:
        output = _content(message, "input_text") if message.parts else message.content
        return members | {"type": "function_call_output", "call_id": message.tool_call_id, "output": output}
    if message.tool_calls:
        call = message.tool_calls[0]
        return members | {
            "type": "function_call",
            "call_id": call.call_id,
            "name": call.name,
            "arguments": call.arguments,
            **extra_content(call.signature),
        }
    if len(message.parts) == 1 and message.parts[0].HasField("reasoning"):
        return reasoning_object(item.item_id, message.parts[0].reasoning, "completed", encrypted=encrypted)
    if message.role == ROLE_ASSISTANT:
        said = {"type": "message", "role": "assistant", "content": _content(message, "output_text")}
        return members | said | phase_member(message.phase)
    return members | {"type": "message", "role": ROLES[message.role], "content": _content(message, "input_text")}


def _content(message: Message, kind: str) -> list[dict[str, Any]]:
    """The content of a message; its texts have the type `kind`."""
    parts = [_part(part, kind) for part in message.parts if not part.HasField("reasoning")]
    return [_text(Text(text=message.content), kind), *parts] if message.content or not parts else parts


def _part(part: Part, kind: str) -> dict[str, Any]:
    match part.WhichOneof("part"):
        case "image":
            image = part.image
            source = {"image_url": image.url or None, "file_id": _file_id(image)}
            return {"type": "input_image", "detail": image.detail or "auto", **source}
        case "audio":
            if data := _inline(part.audio):
                return {"type": "input_audio", "input_audio": {"data": data, "format": FORMATS[part.audio.media_type]}}
            # OpenAI's API lists no sounds, so it has no form for one.
            return {"type": "input_file", "file_id": _file_id(part.audio), "filename": part.audio.name or None}
        case "file":
            document: dict[str, Any] = {"type": "input_file", "filename": part.file.name or None}
            if _inline(part.file):
                return document | {"file_data": part.file.url}
            if part.file.url:
                document["file_url"] = part.file.url
            return document | {"file_id": _file_id(part.file)}
        case _:
            return _text(part.text, kind)


def _text(text: Text, kind: str) -> dict[str, Any]:
    if kind != "output_text":
        return {"type": kind, "text": text.text}
    return {"type": kind, "text": text.text, "annotations": annotations(text.citations), "logprobs": []}


def _inline(media: Media) -> str:
    """The base64 of a medium that has its bytes in itself; empty for any other."""
    return media.url.partition(",")[2] if media.url.startswith("data:") else ""


def _file_id(media: Media) -> str | None:
    """The id of a provider's file, or of bytes that the mesh keeps; the input of another request can name it."""
    return media.file_id or kept_id(media.hash) or None
