"""The catalogue: all models with their providers, and the default model."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from difflib import get_close_matches
from time import monotonic

import structlog
from soma.errors.v1 import reasons
from soma.model.v1.catalog_service_pb2 import Model, RepositoryModel
from soma.model.v1.catalog_service_pb2 import Provider as ProviderState
from soma.model.v1.message_pb2 import Message, Part

from services.mesh.call import errors
from services.model.provider import Loads, Provider

_log = structlog.get_logger(__name__)

# A call for an unknown model, or for the list, refreshes the providers, at most this often and for this long.
_LOOK_INTERVAL = 2.0
_LOOK_SECONDS = 1.5
_LIST_SECONDS = 0.3
_NOT_ASKED = "it was not asked yet"
# The state of a provider that did not answer, by the reason of its error. Other reasons mean a failure.
_STATES: "Mapping[str, ProviderState.State.ValueType]" = {
    reasons.PROVIDER_UNAVAILABLE: ProviderState.STATE_UNREACHABLE,
    reasons.PROVIDER_TIMEOUT: ProviderState.STATE_UNREACHABLE,
    reasons.PROVIDER_CREDENTIAL_REFUSED: ProviderState.STATE_KEY_REFUSED,
}
# Purposes of models, as text for people. The first capability that a model has gives its purpose.
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


# What a model reads, as text for people.
_READ: "Mapping[Model.Modality.ValueType, str]" = {
    Model.MODALITY_IMAGE: "pictures",
    Model.MODALITY_AUDIO: "sound",
    Model.MODALITY_FILE: "documents",
}
_PARTS: "Mapping[str, Model.Modality.ValueType]" = {
    "image": Model.MODALITY_IMAGE,
    "audio": Model.MODALITY_AUDIO,
    "file": Model.MODALITY_FILE,
}
# Most models that a message names.
_MOST_NAMED = 5


def _kind(part: Part) -> str:
    return part.WhichOneof("part") or ""


def _reads(model: Model, needed: "Set[Model.Modality.ValueType]") -> bool:
    """Whether a model can be used now, chats, and is known to read all this."""
    return model.available and Model.CAPABILITY_CHAT in model.capabilities and needed <= set(model.input_modalities)


def purpose_of(model: Model) -> str:
    """What a model does, as text for people; empty if it is not known."""
    return next((_PURPOSES[each] for each in _PURPOSES if each in model.capabilities), "")


@dataclass(frozen=True, slots=True)
class Route:
    """The provider and the model for a model's name."""

    provider: Provider
    model: Model

    def require(self, capability: "Model.Capability.ValueType", what: str) -> None:
        """Refuse a model without the capability.

        Raises:
            InvalidArgument: it lacks the capability.
        """
        if capability not in self.model.capabilities:
            purpose = purpose_of(self.model)
            raise errors.InvalidArgument(
                f"the model `{self.model.name}` cannot {what}" + (f"; it {purpose}" if purpose else ""),
                reason=reasons.MODEL_CAPABILITY_MISSING,
                metadata={"model": self.model.name, "capability": Model.Capability.Name(capability)},
            )


@dataclass(slots=True)
class CatalogueEntry:
    """One provider with its models, from its last answer.

    Attributes:
        only: names of the models to offer; empty for all.
        optional: hidden until it has answered once.
        title: the vendor, for people.
        here: whether its list is read from this machine, so that each call for the list may read it.
        may_be_default: whether one of its models may answer requests that name none, without being configured to.
        problem: why it did not answer; empty if it did.
        reason: the reason of its MeshError; empty without one.
    """

    provider: Provider
    only: tuple[str, ...] = ()
    optional: bool = False
    title: str = ""
    here: bool = False
    may_be_default: bool = True
    models: dict[str, Model] = field(default_factory=dict)
    problem: str = _NOT_ASKED
    reason: str = ""

    async def refresh(self) -> None:
        """Ask the provider for its models. If it does not answer, its earlier models stay listed as not available."""
        try:
            listed = await self.provider.models()
        except errors.MeshError as error:
            if error.message != self.problem and not self.optional:
                _log.warning("provider_unavailable", provider=self.provider.name, reason=error.reason)
            self.problem, self.reason = error.message, error.reason
            return
        except Exception as error:
            # No error may affect other providers or the next refresh.
            _log.exception("provider_failed", provider=self.provider.name)
            self.problem = f"{self.provider.name} could not be asked for its models: {type(error).__name__}"
            self.reason = ""
            return
        self.models = {model.name: model for model in listed if not self.only or model.name in self.only}
        self.optional = False
        self.problem = self.reason = ""

    def listing(self) -> list[Model]:
        """The models for the catalogue, each with the reason if it cannot be used now."""
        found = []
        names = dict.fromkeys((*self.models, *self.only)) if not self.optional else {}
        for name in names:
            model = Model()
            model.CopyFrom(self.find(name) or Model(name=name, provider=self.provider.name))
            model.available = not self.problem and name in self.models and not model.unavailable_reason
            if not model.available:
                own = model.unavailable_reason
                model.unavailable_reason = self.problem or own or f"{self.provider.name} does not list it"
            found.append(model)
        return found

    def find(self, name: str) -> Model | None:
        """A model by its own name. While the server does not answer, a model of the catalogue file is accepted."""
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


@dataclass(frozen=True, slots=True)
class Loader:
    """A provider that loads models, with its entry, whose list changes when it does."""

    entry: CatalogueEntry
    provider: Loads

    @property
    def name(self) -> str:
        """The name of the provider."""
        return self.entry.provider.name

    async def load(self, name: str, configuration: str) -> RepositoryModel:
        """Load a model, list it, and return what it is now.

        Raises:
            MeshError: see `Loads.load`.
        """
        await self.provider.load(name, configuration)
        await self.entry.refresh()
        return next(
            (each for each in await self.provider.repository() if each.name == name), RepositoryModel(name=name)
        )

    async def unload(self, name: str) -> None:
        """Unload a model, and list it no more.

        Raises:
            MeshError: see `Loads.unload`.
        """
        await self.provider.unload(name)
        await self.entry.refresh()


class Catalogue:
    """The entries of all providers, in the order in which they are searched; the first is the process's own.

    Args:
        default: the model that the configuration names; may be empty.
        fallback: the local model that answers when there is no other.
        look_interval: minimum seconds between two refreshes that calls cause.
        unused: vendors that are not used, with the reason; only listed.
    """

    def __init__(
        self,
        entries: Sequence[CatalogueEntry],
        default: str,
        fallback: str,
        look_interval: float = _LOOK_INTERVAL,
        unused: Sequence[ProviderState] = (),
    ) -> None:
        self._entries = tuple(entries)
        self._unused = tuple(unused)
        self._default = default
        self._fallback = fallback
        self._look_interval = look_interval
        self._looked_at = float("-inf")
        self._looking = asyncio.Lock()

    @property
    def entries(self) -> Sequence[CatalogueEntry]:
        """The providers, in the order in which they are searched."""
        return self._entries

    async def look(self) -> None:
        """Ask all providers again, for a short time, unless they were asked recently."""
        await self._look(self._entries, _LOOK_SECONDS)

    async def find(self, name: str) -> Route:
        """The same as `resolve`, but it asks the providers again for an unknown model.

        Raises:
            NotFound: no provider has such a model now.
        """
        try:
            return self.resolve(name)
        except errors.NotFound:
            await self._look(self._entries, _LOOK_SECONDS, name)
            return self.resolve(name)

    def require_reading(self, route: Route, messages: Iterable[Message]) -> None:
        """Refuse a model of which it is known that it does not read what is in the messages.

        Raises:
            InvalidArgument: it does not read it; the message names models that do.
        """
        known = route.model.input_modalities
        if not known:
            return
        needed = {_PARTS[kind] for message in messages for part in message.parts if (kind := _kind(part)) in _PARTS}
        missing = sorted(needed.difference(known))
        if not missing:
            return
        able = [model for model in self.models() if _reads(model, needed)]
        able.sort(key=lambda model: model.provider != route.provider.name)
        names = ", ".join(f"`{model.name}`" for model in able[:_MOST_NAMED])
        what = " and ".join(_READ[each] for each in missing)
        raise errors.InvalidArgument(
            f"the model `{route.model.name}` does not read {what}" + (f"; these do: {names}" if names else ""),
            reason=reasons.MODEL_CAPABILITY_MISSING,
            metadata={"model": route.model.name, "modality": Model.Modality.Name(missing[0])},
        )

    def loading(self, provider: str) -> "Loader":
        """The provider with a repository of models of this name; of any name if it is empty and there is only one.

        Raises:
            NotFound: there is none.
        """
        found = [entry for entry in self._entries if isinstance(entry.provider, Loads)]
        for entry in found:
            if provider == entry.provider.name or (not provider and len(found) == 1):
                assert isinstance(entry.provider, Loads)
                return Loader(entry, entry.provider)
        there = ", ".join(entry.provider.name for entry in found)
        raise errors.NotFound(
            f"no provider{f' `{provider}`' if provider else ''} loads models"
            + (f"; these do: {there}" if there else "; NVIDIA Triton does: soma up --triton"),
            reason=reasons.MODEL_NOT_FOUND,
        )

    async def listed(self) -> list[Model]:
        """The same as `models`, but it first asks the providers again that did not answer, for a short time.

        Providers whose list is on this machine are asked too.
        """
        for entry in self._entries:
            if entry.here:
                await entry.refresh()
        if away := [entry for entry in self._entries if entry.problem]:
            await self._look(away, _LIST_SECONDS)
        return self.models()

    def resolve(self, name: str) -> Route:
        """The route of a model's name, or of `provider/name` if two providers have the name.

        Raises:
            NotFound: no provider has it; the message lists similar names.
        """
        asked, name = name, name or self.default()
        candidates = [(entry, model) for entry in self._entries if (model := entry.find(name)) is not None]
        if not candidates:
            candidates = self._qualified(name)
        if not candidates:
            raise self._unknown(name, "" if asked else ", the configured default")
        entry, model = next(((e, m) for e, m in candidates if not e.problem), candidates[0])
        return Route(entry.provider, model)

    def default(self) -> str:
        """The configured model; else the first remote chat model that is available; else the local fallback."""
        if self._default:
            return self._default
        for entry in self._entries:
            if entry.problem or not entry.may_be_default or entry.provider.name == "local":
                continue
            for model in entry.models.values():
                if Model.CAPABILITY_CHAT in model.capabilities:
                    return model.name
        return self._fallback

    def models(self) -> list[Model]:
        """Every model, the default first."""
        default = self.default()
        models = [model for entry in self._entries for model in entry.listing()]
        for model in models:
            if default in (model.name, f"{model.provider}/{model.name}"):
                model.default = True
                break
        return sorted(models, key=lambda model: not model.default)

    def providers(self) -> list[ProviderState]:
        """Every provider, in the order in which they are searched for models, then the vendors that are not used."""
        return [*(entry.state() for entry in self._entries), *self._unused]

    async def check(self) -> None:
        """A check of health: at least one model can chat now.

        Raises:
            Unavailable: no model can chat.
        """
        if not any(model.available and Model.CAPABILITY_CHAT in model.capabilities for model in self.models()):
            raise errors.Unavailable(
                "no model that can chat is available; the list of models says why", reason=reasons.MODEL_UNAVAILABLE
            )

    async def refresh(self) -> None:
        """Ask all providers concurrently."""
        await asyncio.gather(*(entry.refresh() for entry in self._entries))

    async def refresh_away(self) -> None:
        """Ask the providers that could not be reached when they were last asked."""
        away = (entry for entry in self._entries if _STATES.get(entry.reason) == ProviderState.STATE_UNREACHABLE)
        await asyncio.gather(*(entry.refresh() for entry in away))

    async def _look(self, entries: Sequence[CatalogueEntry], seconds: float, wanted: str | None = None) -> None:
        """Ask these providers, unless they were asked recently. One caller asks, and the others wait for the result."""
        async with self._looking:
            if monotonic() - self._looked_at < self._look_interval or (wanted is not None and self._has(wanted)):
                return
            looks = [asyncio.ensure_future(entry.refresh()) for entry in entries]
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

    def _qualified(self, name: str) -> list[tuple[CatalogueEntry, Model]]:
        owner, _, own_name = name.partition("/")
        return [
            (entry, model)
            for entry in self._entries
            if entry.provider.name == owner and (model := entry.find(own_name)) is not None
        ]

    def _unknown(self, name: str, role: str) -> errors.NotFound:
        names = [model.name for entry in self._entries for model in entry.listing()]
        close = get_close_matches(name, names, n=3, cutoff=0.4) or names[:5]
        return errors.NotFound(
            f"there is no model `{name}`{role}" + (f"; there are: {', '.join(close)}" if close else ""),
            reason=reasons.MODEL_NOT_FOUND,
            metadata={"model": name},
        )
