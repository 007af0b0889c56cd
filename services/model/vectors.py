"""Makes vectors of texts, with the model of this process or a provider. A provider's calls go to the usage ledger."""

from collections.abc import Sequence
from time import perf_counter

from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.message_pb2 import Usage
from soma.model.v1.model_service_pb2 import EmbedRequest, EmbedResponse
from soma.model.v1.options_pb2 import URGENCY_BACKGROUND

from services.mesh.call import errors
from services.mesh.call.principal import Principal
from services.model.catalogue import Route
from services.model.embedding.embedder import Embedder
from services.model.ledger import Ledger
from services.model.metered import Metered
from services.model.provider import Embeds
from services.model.tokens import estimate


class Vectors:
    """Makes vectors with `embedder`, or with the provider of a route."""

    def __init__(self, embedder: Embedder, ledger: Ledger) -> None:
        self._embedder = embedder
        self._ledger = ledger

    @property
    def model(self) -> str:
        """The name of the model of this process."""
        return self._embedder.model

    async def local(self, request: EmbedRequest) -> EmbedResponse:
        """Vectors of the model of this process. It reads a long text in windows; the answer has their number.

        Raises:
            InvalidArgument: the request has token numbers, or another number of dimensions than the model's.
        """
        if request.tokens:
            why = "token numbers are not supported by this model; send the text"
            raise _refused(why, "tokens", reasons.PARAMETER_NOT_SUPPORTED)
        length = self._embedder.dimensions
        if request.HasField("dimensions") and request.dimensions != length:
            why = f"the model '{self.model}' has vectors of {length} dimensions, and of no other length"
            raise _refused(why, "dimensions", reasons.UNSUPPORTED_VALUE)
        began = perf_counter()
        found = await self._embedder.embed(request.input, background=request.urgency == URGENCY_BACKGROUND)
        vectors = found.vectors
        if request.HasField("normalize") and not request.normalize:
            vectors = vectors * found.norms[:, None]
        response = EmbedResponse(model=self.model, vector_length=length)
        windows: Sequence[int] = [1] * len(vectors) if found.windows is None else found.windows.tolist()
        for index, vector in enumerate(vectors.tolist()):
            response.vectors.add(embedding=vector, index=index, windows=windows[index])
        response.usage.total_tokens = int(found.tokens.sum())
        response.latency_ms = (perf_counter() - began) * 1000
        return response

    async def remote(self, principal: Principal, route: Route, request: EmbedRequest) -> EmbedResponse:
        """Vectors of a provider. The ledger has one record of the call, even if the call fails.

        Raises:
            InvalidArgument: reason MODEL_CAPABILITY_MISSING; the provider has no method for vectors.
            MeshError: the provider or the ledger failed.
        """
        provider = route.provider
        if not isinstance(provider, Embeds):
            # The provider's list has a model for vectors, but its protocol has no method for them.
            raise errors.InvalidArgument(
                f"{provider.name} cannot be asked for vectors",
                reason=reasons.MODEL_CAPABILITY_MISSING,
                metadata={"model": route.model.name, "capability": Model.Capability.Name(Model.CAPABILITY_EMBEDDING)},
            )
        async with Metered(self._ledger, principal, route, "embeddings") as call:
            response = await provider.embed(request, route.model.name)
            tokens = response.usage.total_tokens or _tokens(request)
            seconds = await call.finish(Usage(prompt_tokens=tokens, total_tokens=tokens))
        response.usage.total_tokens = tokens
        response.latency_ms = seconds * 1000
        return response


def require_texts(request: EmbedRequest) -> None:
    """Refuse a request with no texts, or with texts of both kinds.

    Raises:
        InvalidArgument: names `input`.
    """
    if bool(request.input) == bool(request.tokens):
        why = "give texts as `input` or as `tokens`" + (", not both" if request.input else "")
        raise errors.InvalidArgument(f"input: {why}", violations=[errors.FieldViolation("input", why)])


def _tokens(request: EmbedRequest) -> int:
    return sum(len(each.numbers) for each in request.tokens) or estimate(request.input)


def _refused(why: str, field: str, reason: str) -> errors.InvalidArgument:
    return errors.InvalidArgument(why, reason=reason, violations=[errors.FieldViolation(field, why)])
