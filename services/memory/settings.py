"""Settings of the memory service: table `[memory]`, `SOMA_MEMORY_*`."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings


class MemorySettings(SomaSettings):
    """How long memory waits for vectors, and how often it deletes expired facts."""

    table: ClassVar[str | None] = "memory"
    model_config = SettingsConfigDict(env_prefix="SOMA_MEMORY_", frozen=True, extra="forbid")

    embed_seconds: float = Field(3.0, gt=0, description="how long a call waits for vectors before it does without")
    sweep_seconds: float = Field(60.0, gt=0, description="how often facts that have expired are deleted")
