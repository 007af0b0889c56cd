"""Settings of the orchestrator: table `[orchestrator]`, `SOMA_ORCHESTRATOR_*`."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings
from services.orchestrator.logs.store import Bounds


class OrchestratorSettings(SomaSettings):
    """How a turn behaves while a neighbour is away, and how much is kept of what happened."""

    table: ClassVar[str | None] = "orchestrator"
    model_config = SettingsConfigDict(env_prefix="SOMA_ORCHESTRATOR_", frozen=True, extra="forbid")

    memory_patience_seconds: float = Field(
        10.0, ge=0, description="how long a turn waits for an absent memory service before it fails"
    )
    log_entries: int = Field(10_000, ge=100, description="entries kept of a tenant's log, about")
    log_entries_per_task: int = Field(1_000, ge=100, description="entries kept of one task, about")
    log_tasks: int = Field(1_000, ge=1, description="newest sessions, and newest other turns, whose entries are kept")
    log_seconds: int = Field(7 * 24 * 3600, ge=60, description="how long after its last entry a log is kept")

    heartbeat_interval: float = Field(15.0, gt=0, description="seconds of silence before a tail of logs shows life")

    @property
    def log_bounds(self) -> Bounds:
        """How much is kept of a tenant's log."""
        return Bounds(self.log_entries, self.log_entries_per_task, self.log_tasks, self.log_seconds)

    responses_kept_days: float = Field(30.0, gt=0, description="how long a stored response is kept")
    background_seconds: float = Field(3600.0, gt=0, description="longest making of a response in the background")
