"""Has a vendor judge texts and pictures (https://platform.openai.com/docs/api-reference/moderations)."""

from typing import Any

from soma.model.v1.message_pb2 import Part, Usage
from soma.model.v1.model_service_pb2 import ModerateRequest, ModerateResponse, ModerationResult

from services.model.adapters import refusal
from services.model.adapters.counts import count, member, usage_of
from services.model.adapters.specialists.request import asked, unsupported
from services.model.adapters.upstream import Upstream
from services.model.media.contents import Contents
from services.model.methods import Moderations

_OWN = frozenset({"input"})
_ODD = (AttributeError, KeyError, TypeError, ValueError)


async def moderated(
    upstream: Upstream,
    method: Moderations,
    path: str,
    request: ModerateRequest,
    model: str,
    contents: Contents,
) -> ModerateResponse:
    """The results of a request. Inputs of several parts, or with pictures, are judged in calls of their own.

    Raises:
        InvalidArgument: the vendor judges no pictures.
        MeshError: the vendor failed, or its answer has no result for each input.
    """
    if not method.images and any(part.WhichOneof("part") == "image" for each in request.inputs for part in each.parts):
        raise unsupported(upstream.name, "inputs")
    body = asked(upstream.name, method, path, {"model": model}, (), request.provider_params, own=_OWN).body
    response, usage = ModerateResponse(), Usage()
    for call in _calls(request, method.images, contents):
        answer = await upstream.post(path, {**body, "input": call})
        wanted = len(call) if isinstance(call[0], str) else 1
        try:
            results = [_result(each) for each in answer["results"]]
        except _ODD as error:
            raise refusal.protocol_error(upstream.name, "its answer has no results") from error
        if len(results) != wanted:
            raise refusal.protocol_error(upstream.name, "its answer has no result for each text")
        response.results.extend(results)
        counted = member(answer, "usage")
        read, written = count(member(counted, "prompt_tokens")), count(member(counted, "completion_tokens"))
        usage = usage_of(usage.prompt_tokens + read, usage.completion_tokens + written)
    response.usage.CopyFrom(usage)
    return response


def _calls(request: ModerateRequest, parts: bool, contents: Contents) -> list[list[Any]]:
    """The inputs of each call: texts, or the parts of one input."""
    plain = all(len(each.parts) == 1 and each.parts[0].WhichOneof("part") == "text" for each in request.inputs)
    if plain:
        return [[each.parts[0].text.text for each in request.inputs]]
    if not parts:
        # A vendor without parts gets their texts as one.
        return [["\n".join(part.text.text for part in each.parts) for each in request.inputs]]
    return [[_part(part, contents) for part in each.parts] for each in request.inputs]


def _part(part: Part, contents: Contents) -> dict[str, Any]:
    if part.WhichOneof("part") == "image":
        url = contents.url(part.image) or contents.data_url(part.image)
        return {"type": "image_url", "image_url": {"url": url}}
    return {"type": "text", "text": part.text.text}


def _result(given: dict[str, Any]) -> ModerationResult:
    flags, scores = given["categories"], given.get("category_scores") or {}
    applied = given.get("category_applied_input_types") or {}
    result = ModerationResult()
    for name, flagged in flags.items():
        score = scores.get(name)
        result.categories.add(
            name=name,
            # Some categories are null where a model does not judge them.
            flagged=flagged is True,
            score=float(score) if isinstance(score, int | float) else 0.0,
            applied_to=[each for each in applied.get(name) or () if isinstance(each, str)],
        )
    said = given.get("flagged")
    result.flagged = said if isinstance(said, bool) else any(each.flagged for each in result.categories)
    return result
