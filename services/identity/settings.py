"""Settings of the identity service: table `[identity]`, `SOMA_IDENTITY_*`."""

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.identity.outside.settings import Issuer, IssuerName
from services.mesh.settings import SomaSettings


class IdentitySettings(SomaSettings):
    """How long credentials last, and whose are accepted."""

    table: ClassVar[str | None] = "identity"
    model_config = SettingsConfigDict(env_prefix="SOMA_IDENTITY_", frozen=True, extra="forbid")

    access_token_seconds: int = Field(
        24 * 3600, ge=60, le=30 * 24 * 3600, description="how long a token of ours is valid, unless it is revoked"
    )
    session_days: int = Field(30, ge=1, le=365, description="how long a session can be continued without a password")
    key_days: int = Field(90, ge=0, le=3650, description="how long an API key is valid unless asked; 0 for ever")
    signing_key_days: int = Field(30, ge=1, le=3650, description="after how many days another key signs tokens")
    delegation_days: int = Field(
        7,
        ge=1,
        le=90,
        description="most days that work may go on for somebody after the call in which it was asked for",
    )
    issuers: Mapping[IssuerName, Issuer] = Field(
        default_factory=dict, description="outside issuers whose tokens are accepted (OpenID Connect), by name"
    )
    failed_credentials: int = Field(
        60, ge=1, description="wrong keys and tokens from an address in a minute, before answers are 429"
    )
    failed_logins: int = Field(
        10, ge=1, description="wrong passwords for a user from an address, in a quarter of an hour, before answers wait"
    )
