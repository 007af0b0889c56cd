"""Settings of the model service: its providers, and its timeouts for them."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, AliasChoices, DirectoryPath, Field, FilePath, PrivateAttr, SecretStr
from pydantic_settings import SettingsConfigDict

from services.mesh.process.sources import EmptyCounts, Location
from services.mesh.settings import SomaSettings
from services.model.adapters.http1.network import Network, network, proxy_url
from services.model.adapters.triton.settings import TritonSettings
from services.model.catalogue_file import CatalogueFile, Key, ProviderSettings, Url, invalid, read_catalogue
from services.model.discovery import Given, Missing, found, of_file
from services.model.embedding.settings import EmbeddingSettings
from services.model.llm.settings import LlmSettings
from services.model.media.settings import MediaSettings
from services.model.vendor import Vendor
from services.model.vendor_files import load

ANTHROPIC_URL = "https://api.anthropic.com"


def _proxy(given: SecretStr) -> SecretStr:
    return SecretStr(proxy_url(given.get_secret_value()))


ProxyUrl = Annotated[SecretStr, AfterValidator(_proxy)]


class ModelSettings(SomaSettings):
    """Settings of the model service: `[model]` of soma.toml, `SOMA_MODEL_*`, and the vendors' own variables."""

    table: ClassVar[str | None] = "model"
    parts: ClassVar[tuple[type[SomaSettings], ...]] = (EmbeddingSettings, MediaSettings, LlmSettings, TritonSettings)
    model_config = SettingsConfigDict(env_prefix="SOMA_MODEL_", frozen=True, extra="forbid", populate_by_name=True)

    catalogue: Path | None = Field(None, description="TOML file of providers; see catalogue.example.toml")
    vendors: DirectoryPath | None = Field(
        None, description="folder of vendors' files beside the shipped ones; `vendors` of the data directory when unset"
    )
    default: str = Field("", description="model that answers a request which names none; over the catalogue file's")
    openai_api_key: Key = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SOMA_MODEL_OPENAI_API_KEY", "OPENAI_API_KEY"),
        description="makes OpenAI's models available",
    )
    openai_base_url: Url = Field(
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
    ollama_url: Annotated[Url, EmptyCounts()] = Field(
        "http://127.0.0.1:11434", description="where to look for Ollama; empty for nowhere"
    )
    https_proxy: ProxyUrl = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SOMA_MODEL_HTTPS_PROXY", "HTTPS_PROXY"),
        description="proxy for providers at https, http://host:port",
    )
    http_proxy: ProxyUrl = Field(
        SecretStr(""),
        validation_alias=AliasChoices("SOMA_MODEL_HTTP_PROXY", "HTTP_PROXY"),
        description="proxy for providers at http",
    )
    no_proxy: str = Field(
        "",
        validation_alias=AliasChoices("SOMA_MODEL_NO_PROXY", "NO_PROXY"),
        description="hosts, domains, addresses and networks reached without one; this machine always is",
    )
    ca_file: FilePath | None = Field(None, description="further CAs that providers' certificates may be of, PEM")
    connect_timeout: float = Field(5.0, gt=0, description="seconds to reach a provider")
    first_byte_timeout: float = Field(120.0, gt=0, description="seconds until the first byte of its answer")
    whole_timeout: float = Field(
        600.0, gt=0, description="seconds until an answer that was asked for in one piece; it comes when it is complete"
    )
    idle_timeout: float = Field(60.0, gt=0, description="seconds between two bytes after it")
    answer_limit_bytes: int = Field(
        16 * 1024 * 1024, ge=1024, description="most text of one answer; a provider that writes on is cut off"
    )
    refresh_interval: float = Field(60.0, gt=0, description="seconds between two looks at what providers serve")
    heartbeat_interval: float = Field(15.0, gt=0, description="seconds of silence before a stream shows life")

    _embedding: EmbeddingSettings = PrivateAttr(default_factory=EmbeddingSettings)
    _media: MediaSettings = PrivateAttr(default_factory=MediaSettings)
    _triton: TritonSettings = PrivateAttr(default_factory=TritonSettings)
    _llm: LlmSettings = PrivateAttr(default_factory=LlmSettings)
    # The environment and the places when the settings were read: the catalogue file names variables, and messages name
    # the places of values.
    _environment: dict[str, str] = PrivateAttr(default_factory=lambda: dict(os.environ))
    _places: dict[str, Location] = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Store the place of each setting."""
        super().model_post_init(context)
        self._places = self.locations()

    @property
    def embedding(self) -> EmbeddingSettings:
        """The settings of embeddings."""
        return self._embedding

    @property
    def media(self) -> MediaSettings:
        """The settings of pictures, sounds and documents."""
        return self._media

    @property
    def triton(self) -> TritonSettings:
        """The settings of NVIDIA Triton."""
        return self._triton

    @property
    def llm(self) -> LlmSettings:
        """The settings of the part `llm`."""
        return self._llm

    def network(self) -> Network:
        """The proxies and certificates for connections to providers.

        Raises:
            FailedPrecondition: the file of certificates has no certificate.
        """
        https, http = self.https_proxy.get_secret_value(), self.http_proxy.get_secret_value()
        try:
            return network(http, https, self.no_proxy, self.ca_file)
        except OSError as error:
            raise invalid(f"ca_file {self.ca_file} of [model] cannot be used: {error.strerror or error}") from error

    def providers(self, vendors: Mapping[str, Vendor] | None = None) -> tuple[str, tuple[ProviderSettings, ...]]:
        """The default model's name (may be empty) and all remote providers, the catalogue file's first.

        Raises:
            FailedPrecondition: the catalogue file cannot be read, or is not valid.
            InvalidArgument: a vendor's variable has an invalid value.
        """
        file, listed, others = self._discovered(load() if vendors is None else vendors)
        return self.default or file.default, (*listed, *(each for each in others if isinstance(each, ProviderSettings)))

    def missing(self, vendors: Mapping[str, Vendor]) -> tuple[Missing, ...]:
        """The vendors that are not used, and the variables that must be set.

        Raises:
            FailedPrecondition, InvalidArgument: see `providers`.
        """
        _, listed, others = self._discovered(vendors)
        used = {entry.vendor for entry in listed}
        return tuple(each for each in others if isinstance(each, Missing) and each.vendor.name not in used)

    def _discovered(
        self, vendors: Mapping[str, Vendor]
    ) -> tuple[CatalogueFile, list[ProviderSettings], list[ProviderSettings | Missing]]:
        values = ((name, getattr(self, name)) for name in type(self).model_fields)
        texts = {name: each.get_secret_value() if isinstance(each, SecretStr) else each for name, each in values}
        given = Given(
            self._environment, {name: text for name, text in texts.items() if isinstance(text, str)}, self._places
        )
        file = read_catalogue(self.catalogue)
        listed = of_file(file, self.catalogue, vendors, given)
        names = {entry.name for entry in listed}
        others = [
            each
            for each in found(vendors, given)
            if (each.vendor.name if isinstance(each, Missing) else each.name) not in names
        ]
        return file, listed, others
