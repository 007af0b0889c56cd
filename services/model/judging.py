"""Judges and sorts texts with the models of providers. Each call goes to the usage ledger."""

from soma.errors.v1 import reasons
from soma.model.v1.message_pb2 import Usage
from soma.model.v1.model_service_pb2 import (
    ModerateRequest,
    ModerateResponse,
    ModerationInput,
    RerankRequest,
    RerankResponse,
)

from services.mesh.call import errors
from services.mesh.call.principal import Principal
from services.model.catalogue import Route
from services.model.ledger import Ledger
from services.model.metered import Metered
from services.model.provider import HasMethods, Methods
from services.model.tokens import estimate


def methods_of(route: Route, what: str) -> Methods:
    """The methods of the route's provider beside chat.

    Raises:
        InvalidArgument: MODEL_CAPABILITY_MISSING, it has none.
    """
    provider = route.provider
    if not isinstance(provider, HasMethods):
        raise errors.InvalidArgument(
            f"{provider.name} has no method that {what}",
            reason=reasons.MODEL_CAPABILITY_MISSING,
            metadata={"provider": provider.name, "model": route.model.name},
        )
    return provider.methods


class Judging:
    """Judges and sorts texts."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def moderate(self, principal: Principal, route: Route, request: ModerateRequest) -> ModerateResponse:
        """Judge texts and pictures.

        Raises:
            InvalidArgument: an input has parts of another kind, or the provider does not judge pictures.
            MeshError: the provider or the ledger failed.
        """
        _require_judged(request)
        methods = methods_of(route, "judges texts")
        async with Metered(self._ledger, principal, route, "moderate") as call:
            response = await methods.moderate(request, route.model.name)
            seconds = await call.finish(_counted(response.usage, [_text(each) for each in request.inputs]))
            response.generation_id = call.generation_id
        response.model, response.provider = route.model.name, route.provider.name
        response.usage.CopyFrom(call.usage)
        response.latency_ms = seconds * 1000
        return response

    async def rerank(self, principal: Principal, route: Route, request: RerankRequest) -> RerankResponse:
        """Sort documents, the best first.

        Raises:
            MeshError: the provider or the ledger failed.
        """
        methods = methods_of(route, "sorts texts")
        async with Metered(self._ledger, principal, route, "rerank") as call:
            response = await methods.rerank(request, route.model.name)
            texts = [request.query, *request.documents]
            seconds = await call.finish(_counted(response.usage, texts))
            response.generation_id = call.generation_id
        response.model, response.provider = route.model.name, route.provider.name
        response.usage.CopyFrom(call.usage)
        response.latency_ms = seconds * 1000
        return response


def _counted(usage: Usage, texts: list[str]) -> Usage:
    """The usage, with an estimate of the tokens if the provider counts nothing."""
    if not usage.total_tokens and not usage.search_units:
        tokens = estimate(texts)
        return Usage(prompt_tokens=tokens, total_tokens=tokens, estimated=True)
    return usage


def _require_judged(request: ModerateRequest) -> None:
    for index, each in enumerate(request.inputs):
        for part in each.parts:
            if part.WhichOneof("part") not in ("text", "image"):
                why = "only texts and pictures are judged"
                field = f"inputs[{index}].parts"
                raise errors.InvalidArgument(f"{field}: {why}", violations=[errors.FieldViolation(field, why)])


def _text(given: ModerationInput) -> str:
    return "\n".join(part.text.text for part in given.parts if part.WhichOneof("part") == "text")
