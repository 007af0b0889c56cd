"""Settings of the policy service: table `[policy]`, `SOMA_POLICY_*`."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings
from services.policy.rulefile import DEFAULT


class PolicySettings(SomaSettings):
    """The rule file, and how often it is checked for changes."""

    table: ClassVar[str | None] = "policy"
    model_config = SettingsConfigDict(env_prefix="SOMA_POLICY_", frozen=True, extra="forbid")

    rules: Path = Field(DEFAULT, description="the rule file")
    reload_seconds: float = Field(1.0, gt=0, description="how often the file is looked at")
