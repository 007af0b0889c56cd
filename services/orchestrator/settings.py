"""Settings of the orchestrator: table `[orchestrator]`, `SOMA_ORCHESTRATOR_*`."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings
from services.orchestrator.logs.store import Bounds


class OrchestratorSettings(SomaSettings):
    """How long turns wait for memory, how much of the logs is kept, and how long responses are made and kept."""

    table: ClassVar[str | None] = "orchestrator"
    model_config = SettingsConfigDict(env_prefix="SOMA_ORCHESTRATOR_", frozen=True, extra="forbid")

    memory_patience_seconds: float = Field(
        10.0, ge=0, description="seconds a turn waits while memory is away, before it fails"
    )
    log_entries: int = Field(10_000, ge=100, description="about how many entries of a tenant's log are kept")
    log_entries_per_task: int = Field(1_000, ge=100, description="about how many entries of one task are kept")
    log_tasks: int = Field(
        1_000, ge=1, description="how many of the newest sessions, and of the newest other turns, keep their entries"
    )
    log_seconds: int = Field(7 * 24 * 3600, ge=60, description="seconds a log is kept after its last entry")

    heartbeat_interval: float = Field(
        15.0, gt=0, description="seconds without an entry until a tail of logs gets a heartbeat"
    )

    @property
    def log_bounds(self) -> Bounds:
        """How much is kept of a tenant's log."""
        return Bounds(self.log_entries, self.log_entries_per_task, self.log_tasks, self.log_seconds)

    responses_kept_days: float = Field(30.0, gt=0, description="days a stored response is kept")
    background_seconds: float = Field(3600.0, gt=0, description="most seconds a response may take in the background")
