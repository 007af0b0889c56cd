"""What is known of a vendor of models: one TOML file each, shipped in `vendors/` or written by whoever runs the mesh.

`docs/providers.md` says what each key is for.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.process import toml
from services.mesh.transport.url import http_url
from services.model.parameters import PARAMETERS

SHIPPED = Path(__file__).parent / "vendors"

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


_VENDOR = TypeAdapter(Vendor)


def load(own: Path | None = None) -> Mapping[str, Vendor]:
    """All vendors by name, in the order of their rank: the shipped ones, replaced by the files of `own` of their name.

    Raises:
        FailedPrecondition: a file cannot be read, or has a key or a value it cannot have; names both.
    """
    files = {path.stem: path for path in SHIPPED.glob("*.toml")}
    if own is not None:
        files |= {path.stem: path for path in own.glob("*.toml")}
    vendors = sorted((read(path) for path in files.values()), key=lambda vendor: (vendor.rank, vendor.name))
    found = {vendor.name: vendor for vendor in vendors}
    for vendor in vendors:
        if vendor.server.elsewhere and vendor.server.elsewhere not in found:
            raise _invalid(f"{files[vendor.name]} is wrong: server.elsewhere: there is no such vendor")
    return found


def read(path: Path) -> Vendor:
    """The vendor a file describes; its name is the file's.

    Raises:
        FailedPrecondition: see `load`.
    """
    try:
        return replace(_VENDOR.validate_python(toml.parsed(path.read_bytes())), name=path.stem)
    except ValidationError as error:
        raise _invalid(f"{path} is wrong: {'; '.join(_why(each) for each in error.errors())}") from error
    except OSError as error:
        raise _invalid(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _invalid(f"{path} is wrong: {error}") from error


def _why(error: Any) -> str:
    where = ".".join(str(step + 1) if isinstance(step, int) else str(step) for step in error["loc"])
    unknown = error["type"] == "unexpected_keyword_argument"
    return f"{where}: {'there is no such key' if unknown else error['msg'].removeprefix('Value error, ')}"


def _invalid(message: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(message, reason=reasons.CATALOGUE_INVALID)
