"""What is known of a vendor of models: where its server is, how it differs from OpenAI's, and what its models cost.

Each is a file (`services.model.vendor_files`); `docs/providers.md` says what each key is for.
"""

import re
from collections.abc import Mapping
from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

from services.mesh.transport.url import http_url
from services.model.parameters import PARAMETERS

# The end of the name of one version of a model.
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|20\d{6})$")

_STRICT = ConfigDict(extra="forbid")
# What a model may be for, as its name says or its vendor's list.
Kind: TypeAlias = Literal[
    "chat", "embedding", "rerank", "image", "video", "speech", "transcription", "moderation", "other"
]


def _known(names: frozenset[str]) -> frozenset[str]:
    if unknown := names - PARAMETERS.keys():
        raise ValueError(f"there is no parameter {', '.join(sorted(unknown))}; there are {', '.join(PARAMETERS)}")
    return names


def _maybe_url(text: str) -> str:
    return http_url(text) if text else ""


UrlPath = Annotated[str, Field(pattern=r"^(/.*)?$")]
Price = Annotated[float, Field(ge=0)]
Tokens = Annotated[int, Field(gt=0)]


@dataclass(frozen=True, config=_STRICT)
class Server:
    """Where the vendor's server is, and how it wants to be asked.

    Attributes:
        url: its base URL; empty where only the user knows it.
        path_added: what every base URL of it ends with, also where the user leaves it out.
        path_dropped: endings users copy along that are part of the paths below.
        elsewhere: the vendor that a server at another host than `url`'s is.
        key_variables, url_variables, models_variables: variables of the environment, the first that is set counts.
        key_setting, url_setting: the setting of `[model]` that holds it, with variables of its own.
        needs: what has to be given, once anything is.
        always: looked for though nothing is given, and not shown before it has answered.
        query_variables: variables that replace a value of `query`.
    """

    url: Annotated[str, AfterValidator(_maybe_url)] = ""
    path_added: UrlPath = ""
    path_dropped: tuple[UrlPath, ...] = ()
    elsewhere: str = ""
    key_variables: tuple[str, ...] = ()
    url_variables: tuple[str, ...] = ()
    models_variables: tuple[str, ...] = ()
    key_setting: str = ""
    url_setting: str = ""
    needs: tuple[Literal["key", "url", "models"], ...] = ()
    always: bool = False
    key_header: str = "Authorization"
    key_prefix: str = "Bearer "
    headers: Mapping[str, str] = Field(default_factory=dict)
    query: Mapping[str, str] = Field(default_factory=dict)
    query_variables: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class Chat:
    """How its chat method differs from OpenAI's.

    Attributes:
        path: after the base URL; `{model}` is the model's name.
        lacks: parameters it cannot honour, refused before it is asked.
        renames: members of the body by another name.
        omits: members of the body it refuses and that change no answer; `messages.name` is one of each message.
        tools: whether its models call tools.
        required: its word for a tool choice that has to call one.
        call_id_length: ids of tool calls have exactly so many letters and digits; 0 for any.
    """

    path: UrlPath = "/chat/completions"
    lacks: Annotated[frozenset[str], AfterValidator(_known)] = frozenset()
    renames: Mapping[str, str] = Field(default_factory=dict)
    omits: tuple[str, ...] = ()
    tools: bool = True
    required: str = "required"
    call_id_length: Annotated[int, Field(ge=0, le=64)] = 0


@dataclass(frozen=True, config=_STRICT)
class Embeddings:
    """Its method for vectors.

    Attributes:
        path: after the base URL; `{model}` is the model's name.
        dimensions: its name for the number of dimensions; empty where it takes none.
        tokens: whether it takes token numbers in place of text.
        most_texts: texts of one request.
        extra: members every request has.
    """

    path: UrlPath = "/embeddings"
    dimensions: str = "dimensions"
    tokens: bool = False
    most_texts: Annotated[int, Field(gt=0)] = 2048
    extra: Mapping[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class ListedPrices:
    """Where an entry of its list says what the model costs: an object, its members, and the tokens they are for."""

    member: str
    tokens: Literal[1, 1_000_000]
    input: str = ""
    output: str = ""
    cached_read: str = ""
    cache_write: str = ""
    reasoning: str = ""
    image: str = ""


@dataclass(frozen=True, config=_STRICT)
class Models:
    """Its list of models.

    Attributes:
        path: after the base URL; empty where it has none.
        complete: false where the list does not say what can be asked for, as Azure's deployments.
        named: the models of a vendor without a list.
        prefix: what the list puts before names.
        default_first: patterns of names of which one may become the default, in their order.
        may_be_default: whether one of its models answers requests that name none, unasked.
        kinds: patterns of names of models that are for something else than chat.
        owner: who makes its models, where its list does not say.
    """

    path: UrlPath = "/models"
    complete: bool = True
    named: tuple[str, ...] = ()
    prefix: str = ""
    default_first: tuple[str, ...] = ()
    may_be_default: bool = True
    kinds: Mapping[Kind, tuple[str, ...]] = Field(default_factory=dict)
    owner: str = ""
    prices: ListedPrices | None = None


@dataclass(frozen=True, config=_STRICT)
class Limit:
    """A rate limit in headers of its answers: how much is left, and when there is more again.

    `unit` is how `reset` is written: seconds, a duration such as `6m0s`, or a moment (of ISO 8601, or Unix time).
    """

    remaining: str
    reset: str
    unit: Literal["seconds", "duration", "iso", "unix", "unix_ms"]


@dataclass(frozen=True, config=_STRICT)
class Tier:
    """Prices of requests with more than `above` tokens of input."""

    above: Tokens
    input: Price | None = None
    output: Price | None = None
    cached_read: Price | None = None
    cache_write: Price | None = None


@dataclass(frozen=True, config=_STRICT)
class ModelFacts:
    """What is known of models whose name is `name`, or fits it where it is a pattern.

    Prices are US dollars for a million tokens; `image`, `minute` and `request` for one. What is not known is absent.
    """

    name: str
    context: Tokens | None = None
    input: Price | None = None
    output: Price | None = None
    cached_read: Price | None = None
    cache_write: Price | None = None
    reasoning: Price | None = None
    image: Price | None = None
    minute: Price | None = None
    request: Price | None = None
    tiers: tuple[Tier, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Known:
    """What is known of its models: from which page, and the day the page said so. The first that fits a name counts."""

    source: str
    as_of: date
    models: tuple[ModelFacts, ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Vendor:
    """One vendor.

    Attributes:
        protocol: OpenAI's chat completions, or Anthropic's messages.
        about: URL of its documentation.
        rank: its place in the order in which a default is looked for; then by name.
        quirks: what else is particular, in words, for the documentation.
    """

    title: str
    about: str
    protocol: Literal["chat_completions", "messages"] = "chat_completions"
    rank: int = 50
    quirks: tuple[str, ...] = ()
    server: Server = Field(default_factory=Server)
    chat: Chat = Field(default_factory=Chat)
    embeddings: Embeddings | None = None
    models: Models = Field(default_factory=Models)
    limits: tuple[Limit, ...] = ()
    known: Known | None = None
    name: str = ""

    def facts(self, model: str) -> ModelFacts | None:
        """What is known of a model, by its name or by its name without a date: a version costs what its model does."""
        models = self.known.models if self.known is not None else ()
        for name in dict.fromkeys((model, _DATED.sub("", model))):
            if found := next((each for each in models if fnmatchcase(name, each.name)), None):
                return found
        return None

    def kind(self, model: str) -> Kind:
        """What a model is for, by its name."""
        name = model.lower()
        for kind, patterns in self.models.kinds.items():
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                return kind
        return "chat"
