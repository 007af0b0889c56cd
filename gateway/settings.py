"""Settings of the one port: table `[gateway]` of soma.toml, variables `SOMA_GATEWAY_*`."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings


class GatewaySettings(SomaSettings):
    """How much of the gateway one client, or all of them together, may take."""

    table: ClassVar[str | None] = "gateway"
    model_config = SettingsConfigDict(env_prefix="SOMA_GATEWAY_")

    headers_seconds: float = Field(default=10.0, gt=0, description="a request's headers arrive within so long")
    request_seconds: float = Field(default=60.0, gt=0, description="a whole request does, unless its answer has begun")
    idle_seconds: float = Field(
        default=300.0,
        ge=1,
        description="silence that ends a stream, or a connection without one",
    )
    connections: int = Field(default=10_000, ge=1, description="connections at once; more are closed as they come")
    memory_bytes: int = Field(
        default=1024 * 1024 * 1024, ge=64 * 1024 * 1024, description="Envoy's heap; near it requests are refused"
    )
