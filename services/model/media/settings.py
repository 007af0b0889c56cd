"""Settings of pictures, sounds and documents: table `[media]`, `SOMA_MEDIA_*`."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings

# A name or an IP address; a port may follow. An IPv6 address is in brackets.
TrustedHost = Annotated[
    str,
    StringConstraints(to_lower=True, strip_whitespace=True, pattern=r"^([^\s/\[\]:@]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?$"),
]
Port = Annotated[int, Field(ge=1, le=65535)]


class MediaSettings(SomaSettings):
    """Limits of what a request carries beside texts, and the addresses from which it may be read."""

    table: ClassVar[str | None] = "media"
    model_config = SettingsConfigDict(env_prefix="SOMA_MEDIA_", frozen=True, extra="forbid")

    limit_bytes: int = Field(
        32 * 1024 * 1024, ge=1024, description="most bytes of all pictures, sounds and documents of one request"
    )
    fetch_timeout: float = Field(
        15.0, gt=0, description="seconds to read one address, its name and connection included"
    )
    most_fetches: int = Field(20, ge=0, description="most addresses read for one request; 0 for none")
    ports: tuple[Port, ...] = Field((80, 443), description="ports of addresses that are read")
    trusted_hosts: tuple[TrustedHost, ...] = Field(
        (), description="hosts that are read on every port though their addresses are private: host or host:port"
    )
