"""Settings of the public port: table `[gateway]` of soma.toml, variables `SOMA_GATEWAY_*`."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings

# Large bodies in progress have one part in so many of the gateway's memory. A body over REST is there up to four times:
# as it arrived, for the check of its JSON, as its JSON is read, and as the message that is made of it.
LARGE_SHARE = 8


class GatewaySettings(SomaSettings):
    """Limits of the gateway, for one client and for all clients together."""

    table: ClassVar[str | None] = "gateway"
    model_config = SettingsConfigDict(env_prefix="SOMA_GATEWAY_")

    headers_seconds: float = Field(
        default=10.0, gt=0, description="time within which the headers of a request must arrive"
    )
    request_seconds: float = Field(
        default=60.0, gt=0, description="time within which a whole request must arrive, unless its answer has begun"
    )
    idle_seconds: float = Field(
        default=300.0,
        ge=1,
        description="silence after which a stream ends, or a connection without streams",
    )
    connections: int = Field(default=10_000, ge=1, description="simultaneous connections; more are closed immediately")
    memory_bytes: int = Field(
        default=1024 * 1024 * 1024,
        ge=64 * 1024 * 1024,
        description="Envoy's heap; when it is nearly full, requests are refused",
    )
