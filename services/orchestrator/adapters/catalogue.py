"""Asks the model service which models there are."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

from soma.errors.v1 import reasons
from soma.model.v1 import catalog_service_pb2 as pb

from services.mesh.call import errors

if TYPE_CHECKING:
    from soma.model.v1.catalog_service_pb2_grpc import CatalogServiceAsyncStub


class Catalogue:
    """The model service's catalogue."""

    def __init__(self, stub: "CatalogServiceAsyncStub") -> None:
        self._stub = stub

    async def chat_models(self) -> list[pb.Model]:
        """Models that generate text, the default first.

        Raises:
            MeshError: the model service's own error.
        """
        listed = await self._stub.ListModels(pb.ListModelsRequest())
        return [model for model in listed.models if _chats(model)]

    async def require_chat(self, name: str) -> None:
        """Refuse a model that holds no conversation; its name may be `provider/model`, or empty for the default.

        Raises:
            NotFound: there is no such model (`MODEL_NOT_FOUND`).
            InvalidArgument: it does not hold conversations (`MODEL_CAPABILITY_MISSING`).
            MeshError: the model service's own error; whether there is such a model is not known then.
        """
        models = (await self._stub.ListModels(pb.ListModelsRequest())).models
        found = [each for each in models if _answers_to(each, name)]
        if not found:
            raise _unknown(name, [each.name for each in models if _chats(each)])
        if not any(_chats(each) for each in found):
            raise errors.InvalidArgument(
                f"the model `{found[0].name}` cannot hold a conversation",
                reason=reasons.MODEL_CAPABILITY_MISSING,
                metadata={"model": found[0].name, "capability": "CAPABILITY_CHAT"},
            )


def _answers_to(model: pb.Model, name: str) -> bool:
    return name in (model.name, f"{model.provider}/{model.name}") if name else model.default


def _chats(model: pb.Model) -> bool:
    return pb.Model.CAPABILITY_CHAT in model.capabilities


def _unknown(name: str, names: Sequence[str]) -> errors.NotFound:
    close = get_close_matches(name, names, n=3, cutoff=0.4) or names[:5]
    what = f"there is no model `{name}`" if name else "the configured default model is not there; name one"
    there = f"; there are: {', '.join(close)}" if close else ""
    return errors.NotFound(f"{what}{there}", reason=reasons.MODEL_NOT_FOUND, metadata={"model": name})
