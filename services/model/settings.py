"""What the model service can be told: which providers there are, and how patient it is with them."""

import os
import tomllib
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, StringConstraints, ValidationError
from pydantic_settings import SettingsConfigDict

from services.mesh import errors
from services.mesh.settings import SomaSettings

OPENAI_URL = "https://api.openai.com/v1"
ANTHROPIC_URL = "https://api.anthropic.com"

_URL = r"https?://[^\s/?#]+\S*"
Url = Annotated[str, StringConstraints(pattern=f"^{_URL}$")]
MaybeUrl = Annotated[str, StringConstraints(pattern=f"^({_URL})?$")]
ProviderKind = Literal["openai", "openai_compatible", "anthropic"]


class ProviderSettings(BaseModel):
    """One provider: a `[[provider]]` of the catalogue file, or one found in the environment.

    `openai` is OpenAI's own server; every other one of its protocol is `openai_compatible`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")
    kind: ProviderKind = "openai_compatible"
    base_url: Url
    # Name of the environment variable that holds the key: a catalogue file holds no secret.
    api_key_env: str = ""
    api_key: SecretStr = Field(default=SecretStr(""), exclude=True)
    # Only these models; empty for all the server lists.
    models: tuple[str, ...] = ()
    # Hidden until it has answered once, so that a server which may be there is not reported missing.
    optional: bool = False


class CatalogueFile(BaseModel):
    """The catalogue file as it is written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    default: str = ""
    provider: tuple[ProviderSettings, ...] = ()


class ModelSettings(SomaSettings):
    """Settings of the model service: `[model]` of soma.toml, `SOMA_MODEL_*`, and the vendors' own variables."""

    table: ClassVar[str | None] = "model"
    model_config = SettingsConfigDict(env_prefix="SOMA_MODEL_", frozen=True, extra="forbid", populate_by_name=True)

    catalogue: Path | None = Field(None, description="TOML file of providers; see catalogue.example.toml")
    default: str = Field("", description="model that answers a request which names none; over the catalogue file's")
    openai_api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SOMA_MODEL_OPENAI_API_KEY", "OPENAI_API_KEY"),
        description="makes OpenAI's models available",
    )
    openai_base_url: MaybeUrl = Field(
        "",
        validation_alias=AliasChoices("SOMA_MODEL_OPENAI_BASE_URL", "OPENAI_BASE_URL"),
        description="an OpenAI-compatible server instead; may need no key",
    )
    anthropic_api_key: SecretStr = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SOMA_MODEL_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY"),
        description="makes Anthropic's models available",
    )
    anthropic_base_url: Url = Field(
        ANTHROPIC_URL,
        validation_alias=AliasChoices("SOMA_MODEL_ANTHROPIC_BASE_URL", "ANTHROPIC_BASE_URL"),
        description="where Anthropic's API is",
    )
    ollama_url: MaybeUrl = Field("http://127.0.0.1:11434", description="where to look for Ollama; empty for nowhere")
    connect_timeout: float = Field(5.0, gt=0, description="seconds to reach a provider")
    first_byte_timeout: float = Field(120.0, gt=0, description="seconds until the first byte of its answer")
    idle_timeout: float = Field(60.0, gt=0, description="seconds between two bytes after it")
    answer_limit_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, description="most text of one answer; a provider that writes on is cut off"
    )
    refresh_interval: float = Field(60.0, gt=0, description="seconds between two looks at what providers serve")
    heartbeat_interval: float = Field(15.0, gt=0, description="seconds of silence before a stream shows life")

    def providers(self) -> tuple[str, tuple[ProviderSettings, ...]]:
        """The default model's name (may be empty) and all remote providers, the catalogue file's first.

        Raises:
            FailedPrecondition: the catalogue file cannot be read, or says something twice.
        """
        file = self._read_catalogue()
        listed = [
            entry.model_copy(update={"api_key": SecretStr(os.environ.get(entry.api_key_env, ""))})
            for entry in file.provider
        ]
        names = [entry.name for entry in listed]
        if len(set(names)) < len(names) or "local" in names:
            raise errors.FailedPrecondition(
                f"{self.catalogue}: provider names must differ from each other and from `local`",
                reason="CATALOGUE_INVALID",
            )
        listed.extend(entry for entry in self._found() if entry.name not in names)
        return self.default or file.default, tuple(listed)

    def _found(self) -> list[ProviderSettings]:
        found = []
        if self.openai_api_key.get_secret_value() or self.openai_base_url:
            url = self.openai_base_url or OPENAI_URL
            found.append(
                ProviderSettings(
                    name="openai",
                    kind="openai" if url.startswith("https://api.openai.com") else "openai_compatible",
                    base_url=url,
                    api_key=self.openai_api_key,
                )
            )
        if self.anthropic_api_key.get_secret_value():
            found.append(
                ProviderSettings(
                    name="anthropic",
                    kind="anthropic",
                    base_url=self.anthropic_base_url,
                    api_key=self.anthropic_api_key,
                )
            )
        if self.ollama_url:
            found.append(ProviderSettings(name="ollama", base_url=f"{self.ollama_url.rstrip('/')}/v1", optional=True))
        return found

    def _read_catalogue(self) -> CatalogueFile:
        if self.catalogue is None:
            return CatalogueFile()
        try:
            return CatalogueFile.model_validate(tomllib.loads(self.catalogue.read_text()))
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise errors.FailedPrecondition(
                f"the model catalogue {self.catalogue} cannot be used: {error}", reason="CATALOGUE_INVALID"
            ) from error
