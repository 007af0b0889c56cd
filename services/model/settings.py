"""What the model service can be told: which providers there are, and how patient it is with them."""

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import SettingsConfigDict
from soma.errors.v1 import reasons

from services.mesh.call import errors
from services.mesh.call.credential import checked, trimmed
from services.mesh.process import toml
from services.mesh.process.sources import EmptyCounts, Location
from services.mesh.settings import SomaSettings
from services.mesh.transport.url import http_url
from services.model.embedding.settings import EmbeddingSettings

OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"
# What people copy along with a base URL: the path of one method.
_METHODS = ("/chat/completions", "/completions", "/embeddings", "/messages", "/models", "/responses", "/api/chat")


def _base_url(text: str) -> str:
    """A server's URL, without the method of it that stands in many an example.

    Raises:
        ValueError: it is none, or that of a method.
    """
    found = http_url(trimmed(text))
    path = urlsplit(found).path
    for method in _METHODS:
        if path.endswith(method):
            raise ValueError(f"the URL is that of one method; leave out {method} and what follows it")
    return found


def _with_path(url: str, path: str) -> str:
    return urlsplit(url)._replace(path=path).geturl()


def _maybe_url(text: str) -> str:
    return _base_url(text) if text else ""


def _key(given: SecretStr) -> SecretStr:
    return SecretStr(checked(given.get_secret_value()))


Url = Annotated[str, AfterValidator(_base_url)]
MaybeUrl = Annotated[str, AfterValidator(_maybe_url)]
Key = Annotated[SecretStr, AfterValidator(_key)]
ProviderKind = Literal["openai", "openai_compatible", "anthropic"]


class ProviderSettings(BaseModel):
    """One provider: a `[[provider]]` of the catalogue file, or one found in the environment.

    `openai` is OpenAI's own server; every other one of its protocol is `openai_compatible`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    kind: ProviderKind = "openai_compatible"
    base_url: Url
    # Name of the environment variable that holds the key: a catalogue file holds no secret.
    api_key_env: str = ""
    api_key: Key = Field(default=SecretStr(""), exclude=True)
    # Where both are set, for people.
    key_place: str = Field(default="", exclude=True)
    url_place: str = Field(default="", exclude=True)
    # Only these models; empty for all the server lists.
    models: tuple[str, ...] = ()
    # Hidden until it has answered once, so that a server which may be there is not reported missing.
    optional: bool = False

    @field_validator("base_url")
    @classmethod
    def _without_version(cls, url: str, known: ValidationInfo) -> str:
        """Anthropic's paths begin with `/v1`, whether its base URL ends with it or not."""
        if known.data.get("kind") != "anthropic":
            return url
        return _with_path(url, urlsplit(url).path.removesuffix("/v1"))


class CatalogueFile(BaseModel):
    """The catalogue file as it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    default: str = ""
    provider: tuple[ProviderSettings, ...] = ()


class ModelSettings(SomaSettings):
    """Settings of the model service: `[model]` of soma.toml, `SOMA_MODEL_*`, and the vendors' own variables."""

    table: ClassVar[str | None] = "model"
    parts: ClassVar[tuple[type[SomaSettings], ...]] = (EmbeddingSettings,)
    model_config = SettingsConfigDict(env_prefix="SOMA_MODEL_", frozen=True, extra="forbid", populate_by_name=True)

    catalogue: Path | None = Field(None, description="TOML file of providers; see catalogue.example.toml")
    default: str = Field("", description="model that answers a request which names none; over the catalogue file's")
    openai_api_key: Key = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SOMA_MODEL_OPENAI_API_KEY", "OPENAI_API_KEY"),
        description="makes OpenAI's models available",
    )
    openai_base_url: MaybeUrl = Field(
        "",
        validation_alias=AliasChoices("SOMA_MODEL_OPENAI_BASE_URL", "OPENAI_BASE_URL"),
        description="an OpenAI-compatible server instead; may need no key",
    )
    anthropic_api_key: Key = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SOMA_MODEL_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY"),
        description="makes Anthropic's models available",
    )
    anthropic_base_url: Url = Field(
        ANTHROPIC_URL,
        validation_alias=AliasChoices("SOMA_MODEL_ANTHROPIC_BASE_URL", "ANTHROPIC_BASE_URL"),
        description="where Anthropic's API is",
    )
    ollama_url: Annotated[MaybeUrl, EmptyCounts()] = Field(
        "http://127.0.0.1:11434", description="where to look for Ollama; empty for nowhere"
    )
    connect_timeout: float = Field(5.0, gt=0, description="seconds to reach a provider")
    first_byte_timeout: float = Field(120.0, gt=0, description="seconds until the first byte of its answer")
    idle_timeout: float = Field(60.0, gt=0, description="seconds between two bytes after it")
    answer_limit_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, description="most text of one answer; a provider that writes on is cut off"
    )
    refresh_interval: float = Field(60.0, gt=0, description="seconds between two looks at what providers serve")
    heartbeat_interval: float = Field(15.0, gt=0, description="seconds of silence before a stream shows life")

    _embedding: EmbeddingSettings = PrivateAttr(default_factory=EmbeddingSettings)
    # As they were when the settings were read: the catalogue file names variables, and messages say where values stand.
    _environment: dict[str, str] = PrivateAttr(default_factory=lambda: dict(os.environ))
    _places: dict[str, Location] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Remembers where each setting came from."""
        super().model_post_init(context)
        self._places = self.locations()

    @property
    def embedding(self) -> EmbeddingSettings:
        """The settings of embeddings."""
        return self._embedding

    def providers(self) -> tuple[str, tuple[ProviderSettings, ...]]:
        """The default model's name (may be empty) and all remote providers, the catalogue file's first.

        Raises:
            FailedPrecondition: the catalogue file cannot be read, or says something twice.
        """
        file = self._read_catalogue()
        listed = [self._with_key(entry) for entry in file.provider]
        names = [entry.name for entry in listed]
        if len(set(names)) < len(names) or "local" in names:
            raise _invalid(f"{self.catalogue}: provider names must differ from each other and from `local`")
        listed.extend(entry for entry in self._found() if entry.name not in names)
        return self.default or file.default, tuple(listed)

    def _with_key(self, entry: ProviderSettings) -> ProviderSettings:
        entry = entry.model_copy(update={"url_place": f"base_url of provider `{entry.name}` in {self.catalogue}"})
        if not entry.api_key_env:
            return entry
        place = f"{entry.api_key_env} in the environment (api_key_env of provider `{entry.name}` in {self.catalogue})"
        try:
            key = checked(self._environment.get(entry.api_key_env, ""))
        except ValueError as error:
            raise _invalid(f"{place}: {error}") from error
        return entry.model_copy(update={"api_key": SecretStr(key), "key_place": place})

    def _found(self) -> list[ProviderSettings]:
        found = []
        places = self._places
        if self.openai_api_key.get_secret_value() or self.openai_base_url:
            url = self.openai_base_url or OPENAI_URL
            openai = urlsplit(url).hostname == urlsplit(OPENAI_URL).hostname
            found.append(
                ProviderSettings(
                    name="openai",
                    kind="openai" if openai else "openai_compatible",
                    # Of OpenAI's own server the path is known.
                    base_url=OPENAI_URL if openai and not urlsplit(url).path else url,
                    api_key=self.openai_api_key,
                    key_place=str(places.get("openai_api_key", "OPENAI_API_KEY in the environment")),
                    url_place=str(places.get("openai_base_url", "")),
                )
            )
        if self.anthropic_api_key.get_secret_value():
            found.append(
                ProviderSettings(
                    name="anthropic",
                    kind="anthropic",
                    base_url=self.anthropic_base_url,
                    api_key=self.anthropic_api_key,
                    key_place=str(places.get("anthropic_api_key", "")),
                    url_place=str(places.get("anthropic_base_url", "")),
                )
            )
        if self.ollama_url:
            path = urlsplit(self.ollama_url).path
            url = _with_path(self.ollama_url, f"{path.removesuffix('/v1')}/v1")
            found.append(ProviderSettings(name="ollama", base_url=url, optional=True))
        return found

    def _read_catalogue(self) -> CatalogueFile:
        if self.catalogue is None:
            return CatalogueFile()
        try:
            content = toml.parsed(self.catalogue.read_bytes())
            return CatalogueFile.model_validate(content)
        except ValidationError as error:
            raise _invalid(f"the model catalogue {self.catalogue} is wrong: {_why(error, content)}") from error
        except OSError as error:
            raise _invalid(f"the model catalogue {self.catalogue} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise _invalid(f"the model catalogue {self.catalogue} is wrong: {error}") from error


def _why(error: ValidationError, content: dict[str, Any]) -> str:
    said = []
    for each in error.errors(include_url=False, include_input=False):
        where = ".".join(str(step + 1) if isinstance(step, int) else step for step in each["loc"])
        match each["loc"]:
            case ("provider", int(number), *rest) if isinstance(entry := content["provider"][number], dict):
                where = f"provider {number + 1} (`{entry.get('name', '')}`): {'.'.join(map(str, rest))}"
        said.append(f"{where}: {each['msg'].removeprefix('Value error, ')}")
    return "; ".join(said)


def _invalid(message: str) -> errors.FailedPrecondition:
    return errors.FailedPrecondition(message, reason=reasons.CATALOGUE_INVALID)
