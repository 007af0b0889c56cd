"""The description of a vendor of models: its server, its differences from OpenAI's protocol, and its prices.

Each vendor has a file (`services.model.vendor_files`). `docs/providers.md` explains each key of such a file.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic.dataclasses import dataclass

from services.mesh.transport.url import http_url
from services.model.known_models import Known, Modality, ModelFacts
from services.model.media.contents import Kind as MediaKind
from services.model.methods import STRICT as _STRICT
from services.model.methods import Images, Moderations, Rerank, Speech, Transcriptions, UrlPath
from services.model.parameters import MEMBERS, PARAMETERS

# The date at the end of a model's name, which names one version of the model.
_DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|20\d{6})$")

# The purposes of models. The purpose is known from the vendor's list or from the model's name.
Kind: TypeAlias = Literal[
    "chat", "completion", "embedding", "rerank", "image", "video", "speech", "transcription", "moderation", "other"
]


def _known(names: frozenset[str]) -> frozenset[str]:
    if unknown := {name for name in names - PARAMETERS.keys() if not name.startswith(MEMBERS)}:
        raise ValueError(f"there is no parameter {', '.join(sorted(unknown))}; there are {', '.join(PARAMETERS)}")
    return names


def _maybe_url(text: str) -> str:
    return http_url(text) if text else ""


@dataclass(frozen=True, config=_STRICT)
class Server:
    """The URL of the vendor's server, its credential, and the headers and query of each request.

    Attributes:
        url: base URL; empty if only the user knows it.
        path_added: path at the end of every base URL; it is added if the user's URL does not have it.
        path_dropped: endings that are removed from a user's URL, because the paths of the methods have them.
        elsewhere: name of the vendor whose file is used if the user's URL has another host than `url`.
        key_variables, url_variables, models_variables: environment variables; the first one that is set is used.
        key_setting, url_setting: the setting of `[model]` that is used instead of these variables.
        needs: the values without which the vendor is not used.
        always: whether the server is asked even if no variable is set; it is then hidden until it has answered once.
        query_variables: for each parameter of `query`, the environment variables that replace its value.
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
    """The differences of the vendor's chat method from OpenAI's.

    Attributes:
        path: path after the base URL; `{model}` stands for the model's name.
        lacks: parameters that the vendor does not support, by their names in `services.model.parameters`, and members
            of `provider_params` as `provider_params.<name>`; such a request is refused before it is sent.
        takes: the members of `provider_params` that the vendor has, if it refuses all others; None if it may have any.
        extras: the members that it has in messages, parts and tools beyond OpenAI's; `*` for any.
        renames: the vendor's names of members of the body, by OpenAI's names.
        omits: members that are not sent, because the vendor refuses them and they do not change the answer;
            `messages.name` means the member `name` of each message.
        tools: whether its models can call tools.
        allowed_tools: whether `tool_choice` can name several tools that the model may call.
        required: the value of `tool_choice` that makes the model call a tool; OpenAI's is `required`.
        call_id_length: number of letters and digits that an id of a tool call must have; 0 if any id is valid.
        thoughts: how the model's thoughts go back: the member of the message; `both` means `reasoning` and
            `reasoning_content`, for servers that know one of them; `parts` means parts of the content; empty if the
            vendor does not take them.
        only_thinkers: whether thoughts go back only to models that are known to think, because others refuse them.
        thoughts_of: which messages have them: all, or those of the turns in which a tool was called.
        signatures: whether a tool call goes back with the signature of the thought behind it, as Gemini has it.
        unsigned: the signature for the first call of a message that has none.
        effort: path in the body of how much the model thinks, such as `reasoning.effort`.
        efforts: other words for an effort; or, for an effort that is said in another way, members of the body.
        thinks: further members of the body for every effort that is a word.
        budget: path in the body of the most tokens of thoughts; empty if there is no such limit.
        results: what the vendor takes as the result of a tool call: a text, or parts of the content too.
        answers_results: whether an answer of the model must come between results and the next message of the user.
        documents: the type of a content part that is a document: OpenAI's `file`, or `document_url`.
        reads_urls: the kinds of media whose URLs the vendor reads itself. All other URLs are read by the mesh, which
            sends the bytes. Empty for servers in one's own network, because they could read private addresses.
    """

    path: UrlPath = "/chat/completions"
    lacks: Annotated[frozenset[str], AfterValidator(_known)] = frozenset()
    takes: frozenset[str] | None = None
    extras: frozenset[str] = frozenset()
    renames: Mapping[str, str] = Field(default_factory=dict)
    omits: tuple[str, ...] = ()
    tools: bool = True
    allowed_tools: bool = False
    required: str = "required"
    call_id_length: Annotated[int, Field(ge=0, le=64)] = 0
    thoughts: Literal["", "reasoning_content", "reasoning", "both", "reasoning_details", "parts"] = ""
    only_thinkers: bool = False
    thoughts_of: Literal["all", "tool_turns"] = "all"
    signatures: bool = False
    unsigned: str = ""
    effort: str = "reasoning_effort"
    efforts: Mapping[str, str | Mapping[str, Any]] = Field(default_factory=dict)
    thinks: Mapping[str, Any] = Field(default_factory=dict)
    budget: str = ""
    results: Literal["text", "parts"] = "text"
    answers_results: bool = False
    documents: Literal["file", "document_url"] = "file"
    reads_urls: frozenset[MediaKind] = frozenset()

    @property
    def unsupported(self) -> frozenset[str]:
        """All parameters that the vendor does not support."""
        found = self.lacks | {"typed_tools", "suffix", "echo"}
        return found if self.budget else found | {"reasoning_budget"}


@dataclass(frozen=True, config=_STRICT)
class Completions:
    """The vendor's method for completions, which continues a prompt instead of answering a message.

    Attributes:
        path: path after the base URL; `{model}` stands for the model's name.
        models: patterns of the names of models that have the method; empty for all that chat. Prompts for other models
            go to the chat method.
        lacks: as in `Chat`.
        takes: as in `Chat`.
        renames: as in `Chat`.
        omits: as in `Chat`.
    """

    path: UrlPath = "/completions"
    models: tuple[str, ...] = ()
    lacks: Annotated[frozenset[str], AfterValidator(_known)] = frozenset()
    takes: frozenset[str] | None = None
    renames: Mapping[str, str] = Field(default_factory=dict)
    omits: tuple[str, ...] = ()

    @property
    def unsupported(self) -> frozenset[str]:
        """All parameters that the method does not support: none of them thinks."""
        return self.lacks | {"typed_tools", "reasoning_effort", "reasoning_budget"}

    def serves(self, model: str) -> bool:
        """Whether a model that chats or completes has the method."""
        return not self.models or any(fnmatchcase(model, pattern) for pattern in self.models)


@dataclass(frozen=True, config=_STRICT)
class Embeddings:
    """The vendor's method for vectors.

    Attributes:
        path: path after the base URL; `{model}` stands for the model's name.
        dimensions: name of the member for the number of dimensions; empty if a caller cannot choose the number.
        tokens: whether it accepts token numbers instead of text.
        most_texts: maximum number of texts in one request.
        extra: members that are sent with every request.
    """

    path: UrlPath = "/embeddings"
    dimensions: str = "dimensions"
    tokens: bool = False
    most_texts: Annotated[int, Field(gt=0)] = 2048
    extra: Mapping[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class Counting:
    """The vendor's method that counts the tokens of a conversation.

    Attributes:
        path: path after the base URL.
        template: path of the method that writes the conversation as one text, which the method at `path` then counts,
            as llama.cpp has it; empty if that method reads the conversation itself, as Anthropic's does.
    """

    path: UrlPath
    template: UrlPath = ""


@dataclass(frozen=True, config=_STRICT)
class ListedPrices:
    """The prices in an entry of the vendor's list: an object, its members, and the number of tokens of a price."""

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
    """The vendor's list of models.

    Attributes:
        path: path after the base URL; empty if the vendor has no list.
        complete: false if the list does not have the names that requests use. Azure's has no deployments, for example.
        named: the models of a vendor without a list.
        prefix: text that the list has before each name.
        default_first: patterns of names; the first model that matches the earliest pattern may become the default.
        may_be_default: whether one of its models may become the default without being configured as the default.
        kinds: patterns of the names of models that do not chat, by purpose.
        owner: the maker of its models, if the list does not have it.
        reads: what every one of its models reads, whatever the list says of it.
    """

    path: UrlPath = "/models"
    complete: bool = True
    named: tuple[str, ...] = ()
    prefix: str = ""
    default_first: tuple[str, ...] = ()
    may_be_default: bool = True
    kinds: Mapping[Kind, tuple[str, ...]] = Field(default_factory=dict)
    owner: str = ""
    reads: tuple[Modality, ...] = ("text",)
    prices: ListedPrices | None = None


@dataclass(frozen=True, config=_STRICT)
class Limit:
    """A rate limit: the header with the remaining quota, and the header with the time of its renewal.

    `unit` is the format of that time: seconds, a duration such as `6m0s`, or a date (ISO 8601 or Unix time).
    """

    remaining: str
    reset: str
    unit: Literal["seconds", "duration", "iso", "unix", "unix_ms"]


@dataclass(frozen=True, config=_STRICT)
class Vendor:
    """One vendor.

    Attributes:
        protocol: OpenAI's chat completions, or Anthropic's messages.
        about: URL of its documentation.
        rank: position in the search for a default model; vendors of the same rank are ordered by name.
        quirks: other differences, as sentences for the documentation.
    """

    title: str
    about: str
    protocol: Literal["chat_completions", "messages"] = "chat_completions"
    rank: int = 50
    quirks: tuple[str, ...] = ()
    server: Server = Field(default_factory=Server)
    chat: Chat = Field(default_factory=Chat)
    completions: Completions | None = None
    embeddings: Embeddings | None = None
    counting: Counting | None = None
    moderations: Moderations | None = None
    rerank: Rerank | None = None
    transcriptions: Transcriptions | None = None
    speech: Speech | None = None
    images: Images | None = None
    models: Models = Field(default_factory=Models)
    limits: tuple[Limit, ...] = ()
    known: Known | None = None
    name: str = ""

    def at(self, base_url: str) -> "Vendor":
        """The vendor as it is behind a base URL.

        Only the vendor's own server reads URLs of media. Another one that speaks like it may be in one's own network,
        and could read private addresses there.
        """
        if not self.server.url or urlsplit(base_url).hostname == urlsplit(self.server.url).hostname:
            return self
        return replace(self, chat=replace(self.chat, reads_urls=frozenset()))

    def facts(self, model: str) -> ModelFacts | None:
        """The facts about a model, by its name, else by its name without the date: all versions cost the same."""
        models = self.known.models if self.known is not None else ()
        for name in dict.fromkeys((model, _DATED.sub("", model))):
            if found := next((each for each in models if fnmatchcase(name, each.name)), None):
                return found
        return None

    def kind(self, model: str) -> Kind:
        """The purpose of a model, by its name."""
        name = model.lower()
        for kind, patterns in self.models.kinds.items():
            if any(fnmatchcase(name, pattern) for pattern in patterns):
                return kind
        return "chat"
