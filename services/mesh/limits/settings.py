"""Settings of rate limits: table `[limits]`, `SOMA_LIMITS_*`."""

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import SettingsConfigDict

from services.mesh.settings import SomaSettings

UNLIMITED = "unlimited"


class Tier(BaseModel):
    """How many requests of each class may be made in a minute; 0 for any number.

    Attributes:
        key: with one API key, or in one session.
        tenant: in the whole tenant.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: int = Field(ge=0, le=1_000_000)
    tenant: int = Field(ge=0, le=10_000_000)


_TIERS = {
    "free": Tier(key=10, tenant=100),
    "standard": Tier(key=100, tenant=1000),
    "pro": Tier(key=100, tenant=1000),
    "enterprise": Tier(key=1000, tenant=10_000),
    UNLIMITED: Tier(key=0, tenant=0),
}


class LimitSettings(SomaSettings):
    """The tiers of rate limits."""

    table: ClassVar[str | None] = "limits"
    model_config = SettingsConfigDict(env_prefix="SOMA_LIMITS_", frozen=True, extra="forbid")

    tiers: Mapping[str, Tier] = Field(_TIERS, description="requests in a minute with a key and in a tenant, by name")
    default_tier: str = Field("standard", description="the tier of tenants, users and keys without one of their own")

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.default_tier not in self.tiers:
            raise ValueError(f"default_tier: there is no tier {self.default_tier!r}")
        return self
