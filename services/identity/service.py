"""The servicers of soma.identity.v1."""

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from soma.identity.v1 import (
    auth_service_pb2,
    auth_service_pb2_grpc,
    role_service_pb2,
    role_service_pb2_grpc,
    service_account_service_pb2,
    service_account_service_pb2_grpc,
    tenant_service_pb2,
    tenant_service_pb2_grpc,
    user_service_pb2,
    user_service_pb2_grpc,
)

from services.identity.accounts import Accounts
from services.identity.authentication import Authentication
from services.identity.delegations import Delegations
from services.identity.first_start import forget_password
from services.identity.people import People
from services.identity.revocations import Revocations
from services.identity.sessions import Sessions
from services.identity.signing_keys import SigningKey, published
from services.identity.tenants import Tenants
from services.mesh.call.authenticator import SOURCE
from services.mesh.call.call import never_ends, principal
from services.mesh.call.pipeline import Context
from services.mesh.call.timestamp import timestamp
from services.mesh.call.token import message_of


class AuthService(auth_service_pb2_grpc.AuthServiceServicer):
    """Authenticates callers."""

    def __init__(
        self,
        authentication: Authentication,
        sessions: Sessions,
        revocations: Revocations,
        delegations: Delegations,
        keys: Callable[[], Sequence[SigningKey]],
    ) -> None:
        self._authentication = authentication
        self._sessions = sessions
        self._revocations = revocations
        self._delegations = delegations
        self._keys = keys

    async def Login(self, request: auth_service_pb2.LoginRequest, context: Context) -> auth_service_pb2.LoginResponse:
        return await self._sessions.login(request, _source(context))

    async def Refresh(
        self, request: auth_service_pb2.RefreshRequest, context: Context
    ) -> auth_service_pb2.RefreshResponse:
        return await self._sessions.refresh(request.refresh_token)

    async def Verify(
        self, request: auth_service_pb2.VerifyRequest, context: Context
    ) -> auth_service_pb2.VerifyResponse:
        caller = principal()
        return auth_service_pb2.VerifyResponse(
            valid=True,
            tenant_id=caller.tenant_id,
            subject=caller.subject,
            roles=caller.roles,
            scopes=sorted(caller.scopes),
            credential_id=caller.credential_id,
            tier=caller.tier,
        )

    async def Logout(
        self, request: auth_service_pb2.LogoutRequest, context: Context
    ) -> auth_service_pb2.LogoutResponse:
        await self._sessions.logout(principal())
        return auth_service_pb2.LogoutResponse()

    async def GetJwks(
        self, request: auth_service_pb2.GetJwksRequest, context: Context
    ) -> auth_service_pb2.GetJwksResponse:
        return published(self._keys(), datetime.now(UTC))

    async def Authenticate(
        self, request: auth_service_pb2.AuthenticateRequest, context: Context
    ) -> auth_service_pb2.AuthenticateResponse:
        if request.delegated:
            found = await self._authentication.delegated(request.credential)
        else:
            found = await self._authentication.authenticate(request.credential, request.source)
        return auth_service_pb2.AuthenticateResponse(
            principal=message_of(found.principal),
            expire_time=timestamp(found.expire_time),
            revocation_sequence=found.sequence,
        )

    def Delegate(
        self, request: auth_service_pb2.DelegateRequest, context: Context
    ) -> auth_service_pb2.DelegateResponse:
        return self._delegations.delegate(principal(), request)

    def WatchRevocations(
        self, request: auth_service_pb2.WatchRevocationsRequest, context: Context
    ) -> AsyncGenerator[auth_service_pb2.WatchRevocationsResponse, None]:
        never_ends()
        return self._revocations.watch(request.after_sequence if request.HasField("after_sequence") else None)


class ServiceAccountService(service_account_service_pb2_grpc.ServiceAccountServiceServicer):
    """Makes, rotates and revokes the service accounts of the caller's tenant."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    async def CreateServiceAccount(
        self, request: service_account_service_pb2.CreateServiceAccountRequest, context: Context
    ) -> service_account_service_pb2.CreateServiceAccountResponse:
        return await self._accounts.create(principal(), request)

    async def GetServiceAccount(
        self, request: service_account_service_pb2.GetServiceAccountRequest, context: Context
    ) -> service_account_service_pb2.GetServiceAccountResponse:
        account = await self._accounts.get(principal(), request.service_account_id)
        return service_account_service_pb2.GetServiceAccountResponse(service_account=account)

    async def ListServiceAccounts(
        self, request: service_account_service_pb2.ListServiceAccountsRequest, context: Context
    ) -> service_account_service_pb2.ListServiceAccountsResponse:
        return await self._accounts.list(principal(), request)

    async def RotateServiceAccountKey(
        self, request: service_account_service_pb2.RotateServiceAccountKeyRequest, context: Context
    ) -> service_account_service_pb2.RotateServiceAccountKeyResponse:
        return await self._accounts.rotate(principal(), request)

    async def RevokeServiceAccount(
        self, request: service_account_service_pb2.RevokeServiceAccountRequest, context: Context
    ) -> service_account_service_pb2.RevokeServiceAccountResponse:
        account = await self._accounts.revoke(principal(), request.service_account_id)
        return service_account_service_pb2.RevokeServiceAccountResponse(service_account=account)

    async def RevokeApiKey(
        self, request: service_account_service_pb2.RevokeApiKeyRequest, context: Context
    ) -> service_account_service_pb2.RevokeApiKeyResponse:
        account = await self._accounts.revoke_key(principal(), request.service_account_id, request.key_id)
        return service_account_service_pb2.RevokeApiKeyResponse(service_account=account)


class UserService(user_service_pb2_grpc.UserServiceServicer):
    """Makes and changes the users of the caller's tenant."""

    def __init__(self, people: People, data_dir: Path) -> None:
        self._people = people
        self._data_dir = data_dir

    async def CreateUser(
        self, request: user_service_pb2.CreateUserRequest, context: Context
    ) -> user_service_pb2.CreateUserResponse:
        return await self._people.create(principal(), request)

    async def GetUser(
        self, request: user_service_pb2.GetUserRequest, context: Context
    ) -> user_service_pb2.GetUserResponse:
        return user_service_pb2.GetUserResponse(user=await self._people.get(principal(), request.user_id))

    async def ListUsers(
        self, request: user_service_pb2.ListUsersRequest, context: Context
    ) -> user_service_pb2.ListUsersResponse:
        return await self._people.list(principal(), request)

    async def UpdateUser(
        self, request: user_service_pb2.UpdateUserRequest, context: Context
    ) -> user_service_pb2.UpdateUserResponse:
        return user_service_pb2.UpdateUserResponse(user=await self._people.update(principal(), request))

    async def DeleteUser(
        self, request: user_service_pb2.DeleteUserRequest, context: Context
    ) -> user_service_pb2.DeleteUserResponse:
        await self._people.delete(principal(), request.user_id)
        return user_service_pb2.DeleteUserResponse()

    async def ResetPassword(
        self, request: user_service_pb2.ResetPasswordRequest, context: Context
    ) -> user_service_pb2.ResetPasswordResponse:
        password = await self._people.reset_password(principal(), request.user_id)
        return user_service_pb2.ResetPasswordResponse(password=password)

    async def ChangePassword(
        self, request: user_service_pb2.ChangePasswordRequest, context: Context
    ) -> user_service_pb2.ChangePasswordResponse:
        await self._people.change_password(principal(), request)
        forget_password(request.current_password, self._data_dir)
        return user_service_pb2.ChangePasswordResponse()


class TenantService(tenant_service_pb2_grpc.TenantServiceServicer):
    """Makes and changes tenants."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def CreateTenant(
        self, request: tenant_service_pb2.CreateTenantRequest, context: Context
    ) -> tenant_service_pb2.CreateTenantResponse:
        return await self._tenants.create(principal(), request)

    async def GetTenant(
        self, request: tenant_service_pb2.GetTenantRequest, context: Context
    ) -> tenant_service_pb2.GetTenantResponse:
        return tenant_service_pb2.GetTenantResponse(tenant=await self._tenants.get(principal(), request.tenant_id))

    async def ListTenants(
        self, request: tenant_service_pb2.ListTenantsRequest, context: Context
    ) -> tenant_service_pb2.ListTenantsResponse:
        return await self._tenants.list(principal(), request)

    async def UpdateTenant(
        self, request: tenant_service_pb2.UpdateTenantRequest, context: Context
    ) -> tenant_service_pb2.UpdateTenantResponse:
        return tenant_service_pb2.UpdateTenantResponse(tenant=await self._tenants.update(principal(), request))


class RoleService(role_service_pb2_grpc.RoleServiceServicer):
    """Makes and changes the roles of the caller's tenant."""

    def __init__(self, tenants: Tenants) -> None:
        self._tenants = tenants

    async def ListRoles(
        self, request: role_service_pb2.ListRolesRequest, context: Context
    ) -> role_service_pb2.ListRolesResponse:
        return role_service_pb2.ListRolesResponse(roles=await self._tenants.roles(principal()))

    async def SetRole(
        self, request: role_service_pb2.SetRoleRequest, context: Context
    ) -> role_service_pb2.SetRoleResponse:
        return role_service_pb2.SetRoleResponse(role=await self._tenants.set_role(principal(), request.role))

    async def DeleteRole(
        self, request: role_service_pb2.DeleteRoleRequest, context: Context
    ) -> role_service_pb2.DeleteRoleResponse:
        await self._tenants.delete_role(principal(), request.name)
        return role_service_pb2.DeleteRoleResponse()


def _source(context: Context) -> str:
    """The address that a request came from, as the gateway says; empty for one that did not come through it."""
    return next((str(value) for key, value in context.invocation_metadata() or () if key == SOURCE), "")
