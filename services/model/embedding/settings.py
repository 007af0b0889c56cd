"""Settings of embeddings: table `[embedding]`, `SOMA_EMBEDDING_*`."""

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import HttpUrl, SomaSettings


class EmbeddingSettings(SomaSettings):
    """The location and precision of the model, and its use of the machine."""

    table: ClassVar[str | None] = "embedding"
    model_config = SettingsConfigDict(env_prefix="SOMA_EMBEDDING_", frozen=True, extra="forbid")

    directory: Path = Field(
        default=Path(".somamesh/models"),
        description="where the model's graph is kept once built; `models` of the data directory when unset",
    )
    precision: Literal["int8", "fp32"] = Field(default="int8", description="int8, or fp32: three times slower, exact")
    weights: Literal["packaged", "hub"] = Field(
        default="packaged", description="source asked first; the other is the fallback"
    )
    hub: HttpUrl = Field(default="https://huggingface.co", description="address of the model hub")
    threads: int = Field(default=2, ge=1, le=64, description="runs beside each other")
    batch: int = Field(default=64, ge=1, le=1024, description="most texts in one batch")
    waiting: int = Field(default=10_000, ge=1, description="most texts that may wait; more are refused")
