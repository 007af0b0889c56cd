"""Settings of the orchestrator: table `[orchestrator]`, `SOMA_ORCHESTRATOR_*`."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings


class OrchestratorSettings(SomaSettings):
    """How a turn behaves while a neighbour is away."""

    table: ClassVar[str | None] = "orchestrator"
    model_config = SettingsConfigDict(env_prefix="SOMA_ORCHESTRATOR_", frozen=True, extra="forbid")

    memory_patience_seconds: float = Field(
        10.0, ge=0, description="how long a turn waits for an absent memory service before it fails"
    )
    responses_kept_days: float = Field(30.0, gt=0, description="how long a stored response is kept")
    background_seconds: float = Field(3600.0, gt=0, description="longest making of a response in the background")
