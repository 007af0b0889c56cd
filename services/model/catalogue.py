"""Which models there are, who serves each, and which one answers when nobody says."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from time import monotonic

import structlog
from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import Model
from soma.model.v1.catalog_service_pb2 import Provider as ProviderState

from services.mesh.call import errors
from services.model.provider import Provider

_log = structlog.get_logger(__name__)

# A call that asks for a model nobody has, or for the list, lets providers be asked again, so seldom and so long.
_LOOK_INTERVAL = 2.0
_LOOK_SECONDS = 1.5
_LIST_SECONDS = 0.3
_NOT_ASKED = "it was not asked yet"
# Of a provider that did not answer, by the reason of its error; every other is a failure.
_STATES: "Mapping[str, ProviderState.State.ValueType]" = {
    reasons.PROVIDER_UNAVAILABLE: ProviderState.STATE_UNREACHABLE,
    reasons.PROVIDER_TIMEOUT: ProviderState.STATE_UNREACHABLE,
    reasons.PROVIDER_CREDENTIAL_REFUSED: ProviderState.STATE_KEY_REFUSED,
}
# What a model is for, in words, the first that it can do.
_PURPOSES: "Mapping[Model.Capability.ValueType, str]" = {
    Model.CAPABILITY_CHAT: "holds conversations",
    Model.CAPABILITY_COMPLETION: "completes prompts",
    Model.CAPABILITY_EMBEDDING: "makes vectors of texts (/v1/embeddings)",
    Model.CAPABILITY_RERANK: "sorts texts by how well they fit a question",
    Model.CAPABILITY_IMAGE: "makes images",
    Model.CAPABILITY_VIDEO: "makes videos",
    Model.CAPABILITY_SPEECH: "speaks texts",
    Model.CAPABILITY_TRANSCRIPTION: "writes down what is said",
    Model.CAPABILITY_MODERATION: "judges whether a text may be said",
}


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
            purpose = next((_PURPOSES[each] for each in _PURPOSES if each in self.model.capabilities), "")
            raise errors.InvalidArgument(
                f"the model `{self.model.name}` cannot {what}" + (f"; it {purpose}" if purpose else ""),
                reason=reasons.MODEL_CAPABILITY_MISSING,
                metadata={"model": self.model.name, "capability": Model.Capability.Name(capability)},
            )


@dataclass(slots=True)
class Shelf:
    """One provider's models, as they were when it was last asked.

    Attributes:
        only: the names that are offered; empty for all.
        optional: not shown before it has answered once.
        title: the vendor, for people.
        may_be_default: whether one of its models may answer requests that name none, without being configured to.
        problem: why it did not answer; empty when it did. `reason` is that of the error, empty for any other.
    """

    provider: Provider
    only: tuple[str, ...] = ()
    optional: bool = False
    title: str = ""
    may_be_default: bool = True
    models: dict[str, Model] = field(default_factory=dict)
    problem: str = _NOT_ASKED
    reason: str = ""

    async def refresh(self) -> None:
        """Ask the provider; when it does not answer, what it served before stays listed, as not available."""
        try:
            listed = await self.provider.models()
        except errors.MeshError as error:
            if error.message != self.problem and not self.optional:
                _log.warning("provider_unavailable", provider=self.provider.name, reason=error.reason)
            self.problem, self.reason = error.message, error.reason
            return
        except Exception as error:
            # Whatever it is, it is no other provider's concern, nor the next look's.
            _log.exception("provider_failed", provider=self.provider.name)
            self.problem = f"{self.provider.name} could not be asked for its models: {type(error).__name__}"
            self.reason = ""
            return
        self.models = {model.name: model for model in listed if not self.only or model.name in self.only}
        self.optional = False
        self.problem = self.reason = ""

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
            return self.provider.described(name)
        return known

    def state(self) -> ProviderState:
        """The provider for people: whether it can be used, and why not."""
        asked = self.problem != _NOT_ASKED
        state = _STATES.get(self.reason, ProviderState.STATE_FAILED) if asked else ProviderState.STATE_NOT_ASKED
        return ProviderState(
            name=self.provider.name,
            title=self.title,
            state=state if self.problem else ProviderState.STATE_READY,
            reason=self.problem,
            models=len(self.models),
        )


class Catalogue:
    """All shelves, in the order in which they are searched; the first is the process's own.

    Args:
        default: the model the configuration wants; may be empty.
        fallback: the local model that answers when there is no other.
        look_interval: seconds between two looks that calls cause.
        unused: vendors that are not used, with the reason; only listed.
    """

    def __init__(
        self,
        shelves: Sequence[Shelf],
        default: str,
        fallback: str,
        look_interval: float = _LOOK_INTERVAL,
        unused: Sequence[ProviderState] = (),
    ) -> None:
        self._shelves = tuple(shelves)
        self._unused = tuple(unused)
        self._default = default
        self._fallback = fallback
        self._look_interval = look_interval
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    async def find(self, name: str) -> Route:
        """As `resolve`; a model nobody is known to have may have come since the providers were last asked.

        Raises:
            NotFound: there is none now.
        """
        try:
            return self.resolve(name)
        except errors.NotFound:
            await self._look(self._shelves, _LOOK_SECONDS, name)
            return self.resolve(name)

    async def listed(self) -> list[Model]:
        """As `models`, once providers that did not answer were asked again, as far as they answer at once."""
        if away := [shelf for shelf in self._shelves if shelf.problem]:
            await self._look(away, _LIST_SECONDS)
        return self.models()

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
            if shelf.problem or not shelf.may_be_default or shelf.provider.name == "local":
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

    def providers(self) -> list[ProviderState]:
        """Every provider in the order in which models are looked for, then the vendors that are not used."""
        return [*(shelf.state() for shelf in self._shelves), *self._unused]

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

    async def _look(self, shelves: Sequence[Shelf], seconds: float, wanted: str | None = None) -> None:
        """Ask these providers, unless they were asked lately; one caller asks, and the others wait for the same."""
        async with self._looking:
            if monotonic() - self._looked_at < self._look_interval or (wanted is not None and self._has(wanted)):
                return
            looks = [asyncio.ensure_future(shelf.refresh()) for shelf in shelves]
            try:
                await asyncio.wait(looks, timeout=seconds)
                self._looked_at = monotonic()
            finally:
                for look in looks:
                    look.cancel()
                await asyncio.gather(*looks, return_exceptions=True)

    def _has(self, name: str) -> bool:
        try:
            self.resolve(name)
        except errors.NotFound:
            return False
        return True

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
