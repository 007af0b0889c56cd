"""Which models there are, who serves each, and which one answers when nobody says."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

import structlog
from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import Model

from services.mesh import errors
from services.model.provider import Provider

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """The answer to a model's name: who runs it, and what he calls it."""

    provider: Provider
    model: Model

    def require(self, capability: "Model.Capability.ValueType", what: str) -> None:
        """Refuse a model that cannot do what is asked.

        Raises:
            InvalidArgument: it lacks the capability.
        """
        if capability not in self.model.capabilities:
            raise errors.InvalidArgument(
                f"the model `{self.model.name}` cannot {what}",
                reason=reasons.MODEL_CAPABILITY_MISSING,
                metadata={"model": self.model.name, "capability": Model.Capability.Name(capability)},
            )


@dataclass(slots=True)
class Shelf:
    """One provider's models, as they were when it was last asked.

    Attributes:
        only: the names that are offered; empty for all.
        optional: not shown before it has answered once.
        problem: why it did not answer; empty when it did.
    """

    provider: Provider
    only: tuple[str, ...] = ()
    optional: bool = False
    models: dict[str, Model] = field(default_factory=dict)
    problem: str = "it was not asked yet"

    async def refresh(self) -> None:
        """Ask the provider; when it does not answer, what it served before stays listed, as not available."""
        try:
            listed = await self.provider.models()
        except errors.MeshError as error:
            if error.message != self.problem and not self.optional:
                _log.warning("provider_unavailable", provider=self.provider.name, reason=error.reason)
            self.problem = error.message
            return
        self.models = {model.name: model for model in listed if not self.only or model.name in self.only}
        self.optional = False
        self.problem = ""

    def listing(self) -> list[Model]:
        """Its models for the catalogue, each with why it cannot be used now."""
        found = []
        names = dict.fromkeys((*self.models, *self.only)) if not self.optional else {}
        for name in names:
            model = Model()
            model.CopyFrom(self.find(name) or Model(name=name, provider=self.provider.name))
            model.available = not self.problem and name in self.models
            if not model.available:
                model.unavailable_reason = self.problem or f"{self.provider.name} does not list it"
            found.append(model)
        return found

    def find(self, name: str) -> Model | None:
        """A model by its own name. One the file names is taken at its word while its server is away."""
        known = self.models.get(name)
        if known is None and name in self.only:
            return Model(
                name=name, provider=self.provider.name, capabilities=[Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS]
            )
        return known


class Catalogue:
    """All shelves, in the order in which they are searched; the first is the process's own.

    Args:
        default: the model the configuration wants; may be empty.
        fallback: the local model that answers when there is no other.
    """

    def __init__(self, shelves: Sequence[Shelf], default: str, fallback: str) -> None:
        self._shelves = tuple(shelves)
        self._default = default
        self._fallback = fallback

    def resolve(self, name: str) -> Route:
        """Who answers for a model's name, or `provider/name` where two providers have the name.

        Raises:
            NotFound: nobody; the message lists names like it.
        """
        asked, name = name, name or self.default()
        candidates = [(shelf, model) for shelf in self._shelves if (model := shelf.find(name)) is not None]
        if not candidates:
            candidates = self._qualified(name)
        if not candidates:
            raise self._unknown(name, "" if asked else ", the configured default")
        shelf, model = next(((s, m) for s, m in candidates if not s.problem), candidates[0])
        return Route(shelf.provider, model)

    def default(self) -> str:
        """The configured model; else the first remote chat model that is available; else the local fallback."""
        if self._default:
            return self._default
        for shelf in self._shelves:
            if shelf.problem or shelf.provider.name == "local":
                continue
            for model in shelf.models.values():
                if Model.CAPABILITY_CHAT in model.capabilities:
                    return model.name
        return self._fallback

    def models(self) -> list[Model]:
        """Every model, the default first."""
        default = self.default()
        models = [model for shelf in self._shelves for model in shelf.listing()]
        for model in models:
            if default in (model.name, f"{model.provider}/{model.name}"):
                model.default = True
                break
        return sorted(models, key=lambda model: not model.default)

    async def check(self) -> None:
        """Some model can chat now; a check of health.

        Raises:
            Unavailable: none can.
        """
        if not any(model.available and Model.CAPABILITY_CHAT in model.capabilities for model in self.models()):
            raise errors.Unavailable(
                "no model that can chat is available; the list of models says why", reason=reasons.MODEL_UNAVAILABLE
            )

    async def refresh(self) -> None:
        """Ask all providers at once."""
        await asyncio.gather(*(shelf.refresh() for shelf in self._shelves))

    def _qualified(self, name: str) -> list[tuple[Shelf, Model]]:
        owner, _, own_name = name.partition("/")
        return [
            (shelf, model)
            for shelf in self._shelves
            if shelf.provider.name == owner and (model := shelf.find(own_name)) is not None
        ]

    def _unknown(self, name: str, role: str) -> errors.NotFound:
        names = [model.name for shelf in self._shelves for model in shelf.listing()]
        close = get_close_matches(name, names, n=3, cutoff=0.4) or names[:5]
        return errors.NotFound(
            f"there is no model `{name}`{role}" + (f"; there are: {', '.join(close)}" if close else ""),
            reason=reasons.MODEL_NOT_FOUND,
            metadata={"model": name},
        )
