"""Tenants and their roles. One tenant operates the mesh and manages the others."""

from collections.abc import Callable, Collection, Sequence

from soma.errors.v1 import reasons
from soma.identity.v1 import tenant_service_pb2 as pb
from soma.identity.v1.role_service_pb2 import Role
from soma.identity.v1.user_service_pb2 import User

from services.identity import passwords
from services.identity.accounts import require_tier
from services.identity.passwords import Passwords
from services.identity.roles import ADMIN, BUILT_IN, DESCRIPTIONS, require_held
from services.identity.store.tenants import TenantStore
from services.mesh.call import errors, page_token
from services.mesh.call.field_mask import updated
from services.mesh.call.principal import OPERATOR, Principal

PAGE_SIZE = 50
_CHANGEABLE = frozenset({"title", "state", "tier"})


class Tenants:
    """Makes and changes tenants and roles; `changed` is called after something was revoked."""

    def __init__(
        self, tenants: TenantStore, hashes: Passwords, tiers: Collection[str], changed: Callable[[], None]
    ) -> None:
        self._tenants = tenants
        self._passwords = hashes
        self._tiers = tiers
        self._changed = changed

    async def create(self, caller: Principal, request: pb.CreateTenantRequest) -> pb.CreateTenantResponse:
        """A new tenant with an administrator.

        Raises:
            PermissionDenied: the caller's tenant does not operate the mesh.
            InvalidArgument: there is no such tier.
            AlreadyExists: there is a tenant with this id.
        """
        _require_operator(caller)
        require_tier(request.tier, self._tiers)
        name, password = request.admin_username or ADMIN, passwords.made()
        tenant = await self._tenants.create(
            pb.Tenant(tenant_id=request.tenant_id, title=request.title, tier=request.tier),
            User(username=name, roles=[ADMIN]),
            await self._passwords.hashed(password),
        )
        if tenant is None:
            raise errors.AlreadyExists(f"there is a tenant {request.tenant_id!r} already")
        return pb.CreateTenantResponse(tenant=tenant, admin_username=name, admin_password=password)

    async def get(self, caller: Principal, tenant_id: str) -> pb.Tenant:
        """A tenant.

        Raises:
            NotFound: there is no such tenant, or the caller may not see it.
        """
        visible = tenant_id == caller.tenant_id or caller.tenant_id == OPERATOR
        tenant = await self._tenants.get(tenant_id) if visible else None
        if tenant is None:
            raise errors.NotFound("there is no such tenant", metadata={"tenant_id": tenant_id})
        return tenant

    async def list(self, caller: Principal, request: pb.ListTenantsRequest) -> pb.ListTenantsResponse:
        """A page of the tenants that the caller may see, in the order of their ids.

        Raises:
            InvalidArgument: the page token does not belong to this list.
        """
        place = page_token.read(request, str)
        if caller.tenant_id != OPERATOR:
            return pb.ListTenantsResponse(tenants=[await self.get(caller, caller.tenant_id)])
        size = request.page_size or PAGE_SIZE
        found = await self._tenants.page(place[0] if place else "", size + 1)
        response = pb.ListTenantsResponse(tenants=found[:size])
        if len(found) > size:
            response.next_page_token = page_token.write(request, found[size - 1].tenant_id)
        return response

    async def update(self, caller: Principal, request: pb.UpdateTenantRequest) -> pb.Tenant:
        """Change a tenant.

        Raises:
            PermissionDenied: the caller's tenant does not operate the mesh.
            NotFound: there is no such tenant.
            Aborted: the tenant has another etag.
            InvalidArgument: a field cannot be changed, or there is no such tier.
            FailedPrecondition: the tenant operates the mesh, and would be suspended.
        """
        _require_operator(caller)
        stored = await self.get(caller, request.tenant.tenant_id)
        if request.tenant.etag and request.tenant.etag != stored.etag:
            raise _changed_meanwhile(stored.etag)
        wanted = updated(stored, request.tenant, request.update_mask, _CHANGEABLE)
        if wanted.state == pb.Tenant.STATE_UNSPECIFIED:
            wanted.state = stored.state
        require_tier(wanted.tier, self._tiers)
        if wanted.tenant_id == OPERATOR and wanted.state != pb.Tenant.STATE_ACTIVE:
            raise errors.FailedPrecondition(
                "the tenant that operates the mesh cannot be suspended", reason=reasons.LAST_ADMIN
            )
        changed = await self._tenants.update(wanted, int(stored.etag))
        if changed is None:
            raise _changed_meanwhile((await self.get(caller, stored.tenant_id)).etag)
        self._changed()
        return changed

    async def roles(self, caller: Principal) -> Sequence[Role]:
        """The roles of the caller's tenant, in the order of their names."""
        own = await self._tenants.roles(caller.tenant_id)
        built_in = [
            Role(name=name, description=DESCRIPTIONS[name], scopes=sorted(scopes), built_in=True)
            for name, scopes in BUILT_IN.items()
        ]
        return sorted([*built_in, *own.values()], key=lambda role: role.name)

    async def set_role(self, caller: Principal, role: Role) -> Role:
        """Make a role, or change it for all who have it.

        Raises:
            FailedPrecondition: every tenant has a role of this name.
            PermissionDenied: the caller lacks a scope that the role has or gets.
        """
        _require_own(role.name)
        require_held(caller, role.scopes, "the role cannot get")
        before = (await self._tenants.roles(caller.tenant_id)).get(role.name)
        if before is not None:
            require_held(caller, before.scopes, "the role has")
        stored = await self._tenants.set_role(caller.tenant_id, role)
        self._changed()
        return stored

    async def delete_role(self, caller: Principal, name: str) -> None:
        """Delete a role.

        Raises:
            FailedPrecondition: every tenant has this role.
            NotFound: the tenant has no such role.
        """
        _require_own(name)
        if not await self._tenants.delete_role(caller.tenant_id, name):
            raise errors.NotFound("there is no such role", metadata={"role": name})
        self._changed()


def _require_operator(caller: Principal) -> None:
    if caller.tenant_id != OPERATOR:
        raise errors.PermissionDenied(
            f"only the tenant {OPERATOR!r}, which operates the mesh, may do this", reason=reasons.OPERATOR_ONLY
        )


def _require_own(name: str) -> None:
    if name in BUILT_IN:
        raise errors.FailedPrecondition(
            f"every tenant has the role {name!r}; it cannot be changed", reason=reasons.ROLE_BUILT_IN
        )


def _changed_meanwhile(etag: str) -> errors.Aborted:
    return errors.Aborted("the tenant changed meanwhile", reason=reasons.ETAG_MISMATCH, metadata={"etag": etag})
