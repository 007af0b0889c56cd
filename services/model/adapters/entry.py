"""Makes a model of the catalogue from an entry of any vendor's list, and from the vendor's file."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from soma.model.v1.catalog_service_pb2 import Model, Price

from services.model.adapters.counts import count, member
from services.model.adapters.listing import made_at
from services.model.known_models import Modality, ModelFacts
from services.model.vendor import Kind, ListedPrices, Vendor

_CAPABILITIES: "Mapping[Kind, tuple[Model.Capability.ValueType, ...]]" = {
    "chat": (Model.CAPABILITY_CHAT, Model.CAPABILITY_TOOLS),
    "completion": (Model.CAPABILITY_COMPLETION,),
    "embedding": (Model.CAPABILITY_EMBEDDING,),
    "rerank": (Model.CAPABILITY_RERANK,),
    "image": (Model.CAPABILITY_IMAGE,),
    "video": (Model.CAPABILITY_VIDEO,),
    "speech": (Model.CAPABILITY_SPEECH,),
    "transcription": (Model.CAPABILITY_TRANSCRIPTION,),
    "moderation": (Model.CAPABILITY_MODERATION,),
    "other": (),
}
# Vendors' words for the purpose of a model, in `type`, `endpoints`, output modalities and lists of capabilities.
_WORDS: Mapping[str, Kind] = {
    **dict.fromkeys(("chat", "language", "code", "llm", "vlm", "text", "completion"), "chat"),
    **dict.fromkeys(("embedding", "embeddings", "embed"), "embedding"),
    **dict.fromkeys(("rerank", "reranker"), "rerank"),
    **dict.fromkeys(("audio", "speech", "tts"), "speech"),
    **dict.fromkeys(("transcribe", "transcription", "stt"), "transcription"),
    "image": "image",
    "video": "video",
    "moderation": "moderation",
}
_MODALITIES: "Mapping[Modality, Model.Modality.ValueType]" = {
    "text": Model.MODALITY_TEXT,
    "image": Model.MODALITY_IMAGE,
    "audio": Model.MODALITY_AUDIO,
    "file": Model.MODALITY_FILE,
    "video": Model.MODALITY_VIDEO,
}
# Vendors' words for what a model reads.
_READ: Mapping[str, Modality] = {
    "text": "text",
    "image": "image",
    "vision": "image",
    "audio": "audio",
    "file": "file",
    "pdf": "file",
    "video": "video",
}
# Members of an entry that have the context window, then those of objects inside an entry.
_CONTEXTS = ("max_model_len", "context_length", "context_window", "max_context_length", "max_input_tokens")
_CONTEXTS_WITHIN = (("meta", "n_ctx"), ("meta", "n_ctx_train"), ("top_provider", "context_length"))
_PRICES = ("input", "output", "cached_read", "cache_write", "reasoning", "image")
_FACTS = (*_PRICES, "minute", "request", "characters", "search")
_TIERS = ("input", "output", "cached_read", "cache_write")
_MILLION = 1_000_000


def model_of(vendor: Vendor, provider: str, name: str, entry: Mapping[str, Any]) -> Model:
    """The model that an entry describes; `entry` may be empty if only the name of the model is known.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: the entry has an unexpected shape.
    """
    facts = vendor.facts(name)
    return Model(
        name=name,
        provider=provider,
        capabilities=_capabilities(vendor, name, entry, facts),
        input_modalities=_modalities(vendor, name, entry, facts),
        available=True,
        create_time=made_at(entry.get("created") or entry.get("created_at")),
        owned_by=str(entry.get("owned_by") or vendor.models.owner),
        context_window=_context(entry) or (facts and facts.context) or 0,
        price=_listed(vendor.models.prices, entry) or _known(facts, vendor),
    )


def default_first(models: Sequence[Model], vendor: Vendor) -> list[Model]:
    """The models in their order, except that the first match of the vendor's earliest pattern comes before all others.

    It may become the default without being configured, so the patterns match no expensive model.
    """
    for pattern in vendor.models.default_first:
        chosen = next((model for model in models if fnmatchcase(model.name, pattern)), None)
        if chosen is not None:
            return sorted(models, key=lambda model: model is not chosen)
    return list(models)


def _kind(vendor: Vendor, name: str, entry: Mapping[str, Any]) -> Kind:
    kind = _said(entry)
    if kind is None:
        kind = vendor.kind(name)
        if kind == "chat" and _denied(entry, "completion_chat", "supports_chat"):
            kind = "other"
    return kind


def _capabilities(
    vendor: Vendor, name: str, entry: Mapping[str, Any], facts: ModelFacts | None
) -> "list[Model.Capability.ValueType]":
    kind = _kind(vendor, name, entry)
    found = list(_CAPABILITIES[kind])
    parameters = entry.get("supported_parameters")
    without = isinstance(parameters, list) and bool(parameters) and "tools" not in parameters
    if kind == "chat" and (not vendor.chat.tools or without or _denied(entry, "function_calling", "supports_tools")):
        found.remove(Model.CAPABILITY_TOOLS)
    if kind == "chat" and (_thinks(entry) or (facts is not None and facts.thinks)):
        found.append(Model.CAPABILITY_REASONING)
    return found


def _thinks(entry: Mapping[str, Any]) -> bool:
    """Whether the entry says that the model thinks before it answers."""
    said = entry.get("capabilities")
    if isinstance(said, list):
        return "thinking" in said or "reasoning" in said
    parameters = entry.get("supported_parameters")
    return member(said, "reasoning") is True or (isinstance(parameters, list) and "reasoning" in parameters)


def _modalities(
    vendor: Vendor, name: str, entry: Mapping[str, Any], facts: ModelFacts | None
) -> "list[Model.Modality.ValueType]":
    """What a model that chats reads; empty if it is not known."""
    if _kind(vendor, name, entry) != "chat":
        return []
    read = _read(entry)
    if read is None:
        read = facts.reads if facts is not None else None
    if read is None:
        return []
    return sorted(_MODALITIES[each] for each in {*read, *vendor.models.reads})


def _read(entry: Mapping[str, Any]) -> Sequence[Modality] | None:
    """What the model reads according to its entry; None if the entry does not say it."""
    listed = member(entry.get("architecture"), "input_modalities")
    if isinstance(listed, list):
        return [_READ[each] for each in listed if isinstance(each, str) and each in _READ]
    said = entry.get("capabilities")
    if isinstance(said, list):
        # Ollama's words. llama.cpp's `multimodal` does not say for what.
        if "completion" not in said or "multimodal" in said:
            return None
        return ["text", *(_READ[each] for each in said if isinstance(each, str) and each in ("vision", "audio"))]
    sees = member(said, "vision")
    if not isinstance(sees, bool):
        return None
    read: list[Modality] = ["text"]
    if sees:
        read.append("image")
    if member(said, "audio") is True:
        read.append("audio")
    return read


def _said(entry: Mapping[str, Any]) -> Kind | None:
    """The purpose of the model according to its entry. If there are several, chat is preferred."""
    words = [entry.get("type")]
    for several in (
        entry.get("endpoints"),
        entry.get("capabilities"),
        member(entry.get("architecture"), "output_modalities"),
    ):
        words += several if isinstance(several, list) else ()
    kinds = [_WORDS[word] for word in words if isinstance(word, str) and word in _WORDS]
    if entry.get("supports_chat") is True or member(entry.get("capabilities"), "completion_chat") is True:
        kinds.append("chat")
    return "chat" if "chat" in kinds else next(iter(kinds), None)


def _denied(entry: Mapping[str, Any], *names: str) -> bool:
    """Whether the entry, or its `capabilities`, has the value false for one of these names."""
    return any(
        holder is False for name in names for holder in (entry.get(name), member(entry.get("capabilities"), name))
    )


def _context(entry: Mapping[str, Any]) -> int:
    said = [entry.get(name) for name in _CONTEXTS]
    said += [member(entry.get(holder), name) for holder, name in _CONTEXTS_WITHIN]
    return next((tokens for each in said if (tokens := count(each))), 0)


def _listed(where: ListedPrices | None, entry: Mapping[str, Any]) -> Price | None:
    """The price in an entry; None if it has none."""
    if where is None:
        return None
    price = Price()
    for name in _PRICES:
        amount = _amount(member(entry.get(where.member), getattr(where, name)))
        if amount is not None:
            setattr(price, name, amount if name == "image" else round(amount * _MILLION / where.tokens, 9))
    return price if price.ListFields() else None


def _amount(value: object) -> float | None:
    """An amount of money from a number or a text; None for other values. A negative number means a varying price."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    amount = float(value)
    return amount if 0 <= amount < _MILLION else None


def _known(facts: ModelFacts | None, vendor: Vendor) -> Price | None:
    """The price in the vendor's file."""
    if facts is None or all(getattr(facts, name) is None for name in _FACTS):
        return None
    price = Price(**{name: getattr(facts, name) for name in _FACTS})
    price.as_of = vendor.known.as_of.isoformat() if vendor.known else ""
    for tier in facts.tiers:
        price.tiers.add(above_tokens=tier.above, **{name: getattr(tier, name) for name in _TIERS})
    return price
