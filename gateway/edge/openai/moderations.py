"""`POST /v1/moderations`: judgements of texts and pictures from ModelService.Moderate."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

import orjson
from pydantic import Discriminator, Field, Tag
from soma.errors.v1 import reasons
from soma.model.v1.model_service_pb2 import ModerateRequest, ModerationResult
from typing_extensions import TypedDict

from gateway.edge.media import Attached, Holder, held
from gateway.edge.openai.words import BODY, missing
from gateway.edge.provider_params import sent
from gateway.edge.reply import Reply
from gateway.edge.request_model import Reader, by_member, must, open_ended, strict
from services.mesh.call.call import principal

if TYPE_CHECKING:
    from soma.model.v1.model_service_pb2_grpc import ModelServiceAsyncStub

_not_empty = must(bool, reasons.EMPTY_ARRAY, "Invalid '{param}': input cannot be an empty array.")
Text = Annotated[str, Field(max_length=1_048_576)]


@strict
class ImageAddress(TypedDict):
    """The address of a picture, or a data URL."""

    url: str


@strict
class TextPart(TypedDict):
    """A text."""

    type: Literal["text"]
    text: Text


@strict
class ImagePart(TypedDict):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageAddress


def _branch(value: object) -> str:
    if type(value) is str:
        return "union:text"
    first = value[0] if type(value) is list and value else None
    return "union:parts" if type(first) is dict else "union:texts"


Part = Annotated[
    Annotated[TextPart, Tag("union:text")] | Annotated[ImagePart, Tag("union:image")],
    by_member("type", {"image_url": "union:image"}, "union:text"),
]
Input = Annotated[
    Annotated[Text, Tag("union:text")]
    | Annotated[list[Text], Field(fail_fast=True, max_length=1024), _not_empty, Tag("union:texts")]
    | Annotated[list[Part], Field(fail_fast=True, max_length=64), _not_empty, Tag("union:parts")],
    Discriminator(_branch),
]


@open_ended
class ModerationRequest(TypedDict, total=False):
    """The parameters that are read. Others reach the provider as they are."""

    model: str | None
    input: Input | None


READER = Reader(ModerationRequest, BODY)
KNOWN = frozenset(ModerationRequest.__annotations__)


class Moderations:
    """Answers requests for judgements from a ModelService."""

    def __init__(self, models: "ModelServiceAsyncStub", blobs: Holder, timeout: float) -> None:
        self._models = models
        self._blobs = blobs
        self._timeout = timeout

    async def answer(self, body: bytes | bytearray, reply: Reply) -> None:
        """Answer one request.

        Raises:
            InvalidArgument: a parameter is not valid; the error names it.
            MeshError: the model service failed.
        """
        ask = READER.json(body)
        del body
        asked = ask.get("input")
        if asked is None:
            missing("input")
        request = ModerateRequest(model=ask.get("model") or "", provider_params=sent(ask, ask.keys() - KNOWN))
        attached = Attached()
        _add_inputs(request, asked, attached)
        async with held(attached.inline, self._blobs, principal().tenant_id):
            response = await self._models.Moderate(request, timeout=self._timeout)
        results = [_result(each) for each in response.results]
        answer = {"id": f"modr-{response.generation_id}", "model": response.model, "results": results}
        await reply.json(200, orjson.dumps(answer))


def _add_inputs(request: ModerateRequest, asked: Any, attached: Attached) -> None:
    """Add one input for each text, or one for all parts."""
    if isinstance(asked, list) and isinstance(asked[0], dict):
        parts = request.inputs.add().parts
        for number, each in enumerate(asked):
            part = parts.add()
            if each["type"] == "text":
                part.text.text = each["text"]
            else:
                attached.url(part.image, each["image_url"]["url"], f"input[{number}].image_url.url", "image/")
        return
    for text in [asked] if isinstance(asked, str) else asked:
        request.inputs.add().parts.add().text.text = text


def _result(result: ModerationResult) -> dict[str, Any]:
    found: dict[str, Any] = {
        "flagged": result.flagged,
        "categories": {each.name: each.flagged for each in result.categories},
        "category_scores": {each.name: each.score for each in result.categories},
    }
    if any(each.applied_to for each in result.categories):
        found["category_applied_input_types"] = {each.name: list(each.applied_to) for each in result.categories}
    return found
