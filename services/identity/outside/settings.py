"""Settings of one outside issuer: table `[identity.issuers.<name>]`."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from services.mesh.transport.url import http_url

# Those with a public key. With a shared secret, whoever checks tokens could make them.
Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
IssuerName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]


def _as_given(url: str) -> str:
    """A URL as it is given: `iss` of a token is compared with it, and a slash at its end counts."""
    http_url(url)
    return url


Url = Annotated[str, AfterValidator(_as_given)]


class Issuer(BaseModel):
    """An issuer, and what its claims mean here.

    Attributes:
        url: what `iss` of its tokens must be.
        audience: what `aud` of its tokens must contain.
        algorithms: those that it signs with.
        jwks_url: where its keys are; its discovery document says so when this is empty.
        tenant: the tenant of all of its people.
        tenant_claim: the claim that names the tenant, if `tenant` is empty.
        tenants: the tenant of each value of that claim; no other value is let in.
        role_claim: the claim with names of groups or roles: a text or a list. `a.b` is the member `b` of the claim `a`.
        roles: the role of each value of that claim; other values mean nothing.
        default_roles: roles that each of its people has.
        make_users: whether a user is made when somebody comes for the first time.
        private_addresses: whether it may be in a private network, and reached without TLS.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Url
    audience: Name
    algorithms: tuple[Algorithm, ...] = Field(min_length=1)
    jwks_url: Url | Literal[""] = ""
    tenant: str = ""
    tenant_claim: str = ""
    tenants: Mapping[Name, Name] = Field(default_factory=dict)
    role_claim: str = ""
    roles: Mapping[Name, Name] = Field(default_factory=dict)
    default_roles: tuple[Name, ...] = ()
    make_users: bool = True
    private_addresses: bool = False

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if bool(self.tenant) == bool(self.tenant_claim):
            raise ValueError("give either tenant, or tenant_claim and tenants")
        if bool(self.tenant_claim) != bool(self.tenants):
            raise ValueError("tenant_claim and tenants belong together")
        if bool(self.role_claim) != bool(self.roles):
            raise ValueError("role_claim and roles belong together")
        if not self.private_addresses and not all(
            url.startswith("https://") for url in (self.url, self.jwks_url) if url
        ):
            raise ValueError("url and jwks_url begin with https://, unless private_addresses is true")
        return self

    def tenant_of(self, claims: Mapping[str, Any]) -> str | None:
        """The tenant that claims mean; None if they mean none."""
        if self.tenant:
            return self.tenant
        named = [self.tenants[value] for value in _texts(claims, self.tenant_claim) if value in self.tenants]
        # Somebody with two tenants would be in whichever comes first.
        return named[0] if len(set(named)) == 1 else None

    def roles_of(self, claims: Mapping[str, Any]) -> Sequence[str]:
        """The roles that claims mean, in the order of their names."""
        named = {self.roles[value] for value in _texts(claims, self.role_claim) if value in self.roles}
        return sorted(named | set(self.default_roles))


def _texts(claims: Mapping[str, Any], name: str) -> Sequence[str]:
    """The texts of a claim; none if it is missing or something else."""
    value: Any = claims.get(name)
    if value is None:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
    if isinstance(value, str):
        return (value,)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else ()
