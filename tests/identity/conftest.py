"""The identity service as `build` makes it, behind the mesh's pipeline."""

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
import redis.asyncio as aioredis
from soma.identity.v1 import auth_service_pb2 as pb_auth
from soma.identity.v1 import service_account_service_pb2 as pb_accounts
from soma.identity.v1 import user_service_pb2 as pb_users
from soma.identity.v1.auth_service_pb2_grpc import AuthServiceStub
from soma.identity.v1.role_service_pb2_grpc import RoleServiceStub
from soma.identity.v1.service_account_service_pb2_grpc import ServiceAccountServiceStub
from soma.identity.v1.tenant_service_pb2_grpc import TenantServiceStub
from soma.identity.v1.user_service_pb2_grpc import UserServiceStub

from services.identity.main import SERVICE
from services.identity.settings import IdentitySettings
from services.mesh.call import errors
from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from services.mesh.call.status import from_rpc_error
from services.mesh.call.token import principal_of
from services.mesh.testing.hosted import Hosted, hosted

if TYPE_CHECKING:
    from soma.identity.v1.auth_service_pb2_grpc import AuthServiceAsyncStub
    from soma.identity.v1.role_service_pb2_grpc import RoleServiceAsyncStub
    from soma.identity.v1.service_account_service_pb2_grpc import ServiceAccountServiceAsyncStub
    from soma.identity.v1.tenant_service_pb2_grpc import TenantServiceAsyncStub
    from soma.identity.v1.user_service_pb2_grpc import UserServiceAsyncStub

    from tests.databases import OwnedDatabase

OPERATOR = Principal("default", "operator", ("admin",), frozenset({"*"}))
PASSWORD = "tea with a little lemon"


@dataclass
class Identity:
    """The stubs of the service. Calls are the operator's, unless made inside `run_as`."""

    hosted: Hosted
    data_dir: Path

    @property
    def auth(self) -> "AuthServiceAsyncStub":
        return AuthServiceStub(self.hosted.channel)

    @property
    def accounts(self) -> "ServiceAccountServiceAsyncStub":
        return ServiceAccountServiceStub(self.hosted.channel)

    @property
    def users(self) -> "UserServiceAsyncStub":
        return UserServiceStub(self.hosted.channel)

    @property
    def tenants(self) -> "TenantServiceAsyncStub":
        return TenantServiceStub(self.hosted.channel)

    @property
    def roles(self) -> "RoleServiceAsyncStub":
        return RoleServiceStub(self.hosted.channel)

    async def who(self, credential: str) -> Principal:
        """The principal that a credential stands for."""
        answer = await self.auth.Authenticate(pb_auth.AuthenticateRequest(credential=credential))
        return principal_of(answer.principal)

    async def person(self, username: str, *roles: str) -> Principal:
        """A new user who has logged in, as a principal."""
        return await self.who((await self.session(username, *roles)).access_token)

    async def session(self, username: str, *roles: str) -> pb_auth.LoginResponse:
        """The session of a new user, who has a password that need not be changed."""
        made = await self.users.CreateUser(pb_users.CreateUserRequest(username=username, roles=roles))
        first = await self.auth.Login(pb_auth.LoginRequest(username=username, password=made.password))
        with run_as(await self.who(first.access_token)):
            await self.users.ChangePassword(
                pb_users.ChangePasswordRequest(current_password=made.password, new_password=PASSWORD)
            )
        return await self.auth.Login(pb_auth.LoginRequest(username=username, password=PASSWORD))

    async def account(self, name: str, *scopes: str) -> pb_accounts.CreateServiceAccountResponse:
        """A new service account."""
        return await self.accounts.CreateServiceAccount(
            pb_accounts.CreateServiceAccountRequest(name=name, scopes=scopes)
        )


@asynccontextmanager
async def serving(
    pool: "OwnedDatabase", redis: aioredis.Redis, data_dir: Path, settings: IdentitySettings | None = None
) -> AsyncIterator[Identity]:
    """The service, built, on a database."""
    async with hosted(
        SERVICE, database=pool, redis=redis, data_dir=data_dir, caller=OPERATOR, strict=True, settings=settings
    ) as served:
        yield Identity(served, data_dir)


@pytest.fixture
async def identity(database: "OwnedDatabase", redis: aioredis.Redis, tmp_path: Path) -> AsyncIterator[Identity]:
    """The service on a database of the test's own."""
    async with serving(database, redis, tmp_path) as served:
        yield served


async def refused(call: Awaitable[object]) -> errors.MeshError:
    """The error a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return from_rpc_error(raised.value)
