"""Settings of the part `llm`: table `[llm]`, `SOMA_LLM_*`."""

from typing import ClassVar

from pydantic import AliasChoices, Field, FilePath
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings
from services.model.llm.engine import EngineSettings


class LlmSettings(SomaSettings):
    """The files that it serves beside those added, and its use of the machine."""

    table: ClassVar[str | None] = "llm"
    model_config = SettingsConfigDict(env_prefix="SOMA_LLM_", frozen=True, extra="forbid", populate_by_name=True)

    gguf: FilePath | None = Field(
        None,
        validation_alias=AliasChoices("SOMA_LLM_GGUF", "SOMA_MODEL_GGUF"),
        description="a GGUF file that is served where it is, beside those of soma models add",
    )
    idle_seconds: float = Field(600.0, gt=0, description="the process ends after so long without a request")
    context: int = Field(
        4096, ge=256, description="most tokens of a conversation and its answer; a model's own limit if that is less"
    )
    slots: int = Field(2, ge=1, le=64, description="answers made at a time; others wait")
    threads: int = Field(0, ge=0, le=512, description="threads that compute; 0 for one less than there are processors")

    def engine(self) -> EngineSettings:
        """The settings of llama.cpp."""
        return EngineSettings(self.context, self.slots, self.threads)
