"""Settings of the edge: table `[edge]` of soma.toml, variables `SOMA_EDGE_*`."""

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class EdgeSettings(BaseSettings):
    """What the edge allows a request."""

    model_config = SettingsConfigDict(env_prefix="SOMA_EDGE_", frozen=True)

    body_limit_bytes: int = Field(default=4 * 1024 * 1024, ge=1024, description="Largest request body.")
    chat_timeout_seconds: float = Field(default=600.0, gt=0, description="Longest chat turn, from request to end.")
    catalogue_timeout_seconds: float = Field(default=10.0, gt=0, description="Longest wait for the list of models.")
