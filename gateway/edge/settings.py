"""Settings of the edge: table `[edge]` of soma.toml, variables `SOMA_EDGE_*`."""

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings


class EdgeSettings(SomaSettings):
    """Limits of the edge."""

    table: ClassVar[str | None] = "edge"
    model_config = SettingsConfigDict(env_prefix="SOMA_EDGE_")

    body_limit_bytes: int = Field(default=32 * 1024 * 1024, ge=1024, description="largest request body")
    chat_timeout_seconds: float = Field(default=600.0, gt=0, description="longest chat turn, from request to end")
    store_timeout_seconds: float = Field(default=10.0, gt=0, description="longest look-up of a stored response")
    embedding_timeout_seconds: float = Field(
        default=60.0, gt=0, description="longest wait for a batch of vectors, judgements or an order of texts"
    )
    media_timeout_seconds: float = Field(
        default=600.0, gt=0, description="longest transcript, speech or set of pictures, from request to end"
    )
    catalogue_timeout_seconds: float = Field(default=10.0, gt=0, description="longest wait for the list of models")
    socket_silence_seconds: float = Field(default=90.0, gt=0, description="a WebSocket without a ping for so long ends")
    socket_messages_per_minute: int = Field(default=100, ge=1, description="messages a WebSocket may send in a minute")
    sockets_per_user: int = Field(default=50, ge=1, description="WebSockets a user may have open, in all processes")
    sockets: int = Field(default=200, ge=1, description="WebSockets that may be open, in all processes")
    response_socket_seconds: float = Field(
        default=3600.0, gt=0, description="a WebSocket for responses may be open for so long"
    )
    response_socket_silence_seconds: float = Field(
        default=300.0, gt=0, description="a WebSocket for responses ends after so long without a sign of its client"
    )
    response_message_seconds: float = Field(
        default=60.0, gt=0, description="a message over a WebSocket for responses may take so long to arrive"
    )
    response_sockets_per_user: int = Field(
        default=100, ge=1, description="WebSockets for responses a user may have open, in all processes"
    )
    response_sockets: int = Field(
        default=500, ge=1, description="WebSockets for responses that may be open, in all processes"
    )
    response_socket_kept_bytes: int = Field(
        default=128 * 1024 * 1024,
        ge=1024,
        description="unstored responses that all WebSockets of a process keep to be continued",
    )
