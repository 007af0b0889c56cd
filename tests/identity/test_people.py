"""Users, roles and tenants: nobody gets more than somebody had to give, and each tenant keeps an administrator."""

import pytest
from soma.identity.v1 import auth_service_pb2 as auth
from soma.identity.v1 import role_service_pb2 as roles
from soma.identity.v1 import tenant_service_pb2 as tenants
from soma.identity.v1 import user_service_pb2 as pb

from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from tests.identity.conftest import PASSWORD, Identity, refused

MANAGER = Principal("default", "manager", scopes=frozenset({"read:users", "write:users", "write:roles", "read:models"}))


async def _user(identity: Identity, username: str) -> pb.User:
    page = await identity.users.ListUsers(pb.ListUsersRequest(page_size=500))
    return next(user for user in page.users if user.username == username)


async def test_names_differ_by_more_than_their_case(identity: Identity) -> None:
    await identity.users.CreateUser(pb.CreateUserRequest(username="Ann"))
    error = await refused(identity.users.CreateUser(pb.CreateUserRequest(username="ann")))
    assert error.reason == "ALREADY_EXISTS"


@pytest.mark.parametrize("password", ["short", "aaaaaaaaaaaaaaaa", "password123456", "ann-ann-ann-ann"])
async def test_a_weak_password_is_refused(identity: Identity, password: str) -> None:
    request = pb.CreateUserRequest(username="ann", password=password)
    assert (await refused(identity.users.CreateUser(request))).reason == "PASSWORD_TOO_WEAK"


async def test_nobody_makes_a_user_who_may_do_more(identity: Identity) -> None:
    with run_as(MANAGER):
        error = await refused(identity.users.CreateUser(pb.CreateUserRequest(username="boss", roles=["admin"])))
    assert error.reason == "SCOPE_NOT_HELD"


async def test_nobody_takes_over_a_user_who_may_do_more(identity: Identity) -> None:
    admin = await _user(identity, "admin")
    with run_as(MANAGER):
        for call in (
            identity.users.ResetPassword(pb.ResetPasswordRequest(user_id=admin.user_id)),
            identity.users.DeleteUser(pb.DeleteUserRequest(user_id=admin.user_id)),
            identity.users.UpdateUser(pb.UpdateUserRequest(user=pb.User(user_id=admin.user_id, email="m@x.org"))),
        ):
            assert (await refused(call)).reason == "SCOPE_NOT_HELD"


async def test_nobody_gives_themselves_more_by_a_role(identity: Identity) -> None:
    with run_as(MANAGER):
        error = await refused(
            identity.roles.SetRole(roles.SetRoleRequest(role=roles.Role(name="mine", scopes=["write:tenants"])))
        )
    assert error.reason == "SCOPE_NOT_HELD"


async def test_the_last_administrator_stays(identity: Identity) -> None:
    admin = await _user(identity, "admin")
    disabled = pb.User(user_id=admin.user_id, state=pb.User.STATE_DISABLED)
    for call in (
        identity.users.DeleteUser(pb.DeleteUserRequest(user_id=admin.user_id)),
        identity.users.UpdateUser(pb.UpdateUserRequest(user=disabled)),
        identity.users.UpdateUser(pb.UpdateUserRequest(user=pb.User(user_id=admin.user_id, roles=["viewer"]))),
    ):
        assert (await refused(call)).reason == "LAST_ADMIN"
    await identity.users.CreateUser(pb.CreateUserRequest(username="second", roles=["admin"]))
    await identity.users.DeleteUser(pb.DeleteUserRequest(user_id=admin.user_id))


async def test_a_disabled_or_deleted_user_is_out_at_once(identity: Identity) -> None:
    for username, end in (("ann", "disable"), ("ben", "delete")):
        session = await identity.session(username)
        if end == "disable":
            user = pb.User(user_id=session.user_id, state=pb.User.STATE_DISABLED)
            await identity.users.UpdateUser(pb.UpdateUserRequest(user=user))
        else:
            await identity.users.DeleteUser(pb.DeleteUserRequest(user_id=session.user_id))
        error = await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=session.access_token)))
        assert error.reason == "CREDENTIAL_REVOKED"
        login = auth.LoginRequest(username=username, password=PASSWORD)
        assert (await refused(identity.auth.Login(login))).reason == "LOGIN_REFUSED"


async def test_a_change_of_roles_counts_for_the_tokens_that_are_out(identity: Identity) -> None:
    session = await identity.session("ann", "viewer")
    assert not (await identity.who(session.access_token)).allows("execute:chat")
    user = pb.User(user_id=session.user_id, roles=["member"])
    await identity.users.UpdateUser(pb.UpdateUserRequest(user=user))
    assert (await identity.who(session.access_token)).allows("execute:chat")


async def test_a_deleted_role_allows_nothing(identity: Identity) -> None:
    await identity.roles.SetRole(roles.SetRoleRequest(role=roles.Role(name="tester", scopes=["execute:tools"])))
    session = await identity.session("ann", "tester")
    assert (await identity.who(session.access_token)).scopes == {"execute:tools"}
    await identity.roles.DeleteRole(roles.DeleteRoleRequest(name="tester"))
    assert (await identity.who(session.access_token)).scopes == frozenset()


async def test_a_role_that_every_tenant_has_stays_as_it_is(identity: Identity) -> None:
    role = roles.Role(name="viewer", scopes=["read:models"])
    assert (await refused(identity.roles.SetRole(roles.SetRoleRequest(role=role)))).reason == "ROLE_BUILT_IN"
    listed = (await identity.roles.ListRoles(roles.ListRolesRequest())).roles
    assert [role.name for role in listed] == ["admin", "member", "viewer"]


async def test_a_role_that_does_not_exist_is_refused_by_name(identity: Identity) -> None:
    error = await refused(identity.users.CreateUser(pb.CreateUserRequest(username="ann", roles=["pilot"])))
    assert (error.reason, error.facts.metadata["role"]) == ("ROLE_UNKNOWN", "pilot")


async def test_an_old_etag_changes_nothing(identity: Identity) -> None:
    made = (await identity.users.CreateUser(pb.CreateUserRequest(username="ann"))).user
    first = pb.User(user_id=made.user_id, email="a@x.org", etag=made.etag)
    await identity.users.UpdateUser(pb.UpdateUserRequest(user=first))
    error = await refused(identity.users.UpdateUser(pb.UpdateUserRequest(user=first)))
    assert error.reason == "ETAG_MISMATCH"


async def test_a_tenant_has_its_own_administrator_who_sees_no_other(identity: Identity) -> None:
    made = await identity.tenants.CreateTenant(tenants.CreateTenantRequest(tenant_id="globex", title="Globex"))
    first = await identity.auth.Login(
        auth.LoginRequest(username="admin", password=made.admin_password, tenant_id="globex")
    )
    with run_as(await identity.who(first.access_token)):
        await identity.users.ChangePassword(
            pb.ChangePasswordRequest(current_password=made.admin_password, new_password=PASSWORD)
        )
    with run_as(await identity.who(first.access_token)):
        listed = (await identity.tenants.ListTenants(tenants.ListTenantsRequest())).tenants
        assert [tenant.tenant_id for tenant in listed] == ["globex"]
        asked = tenants.GetTenantRequest(tenant_id="default")
        assert (await refused(identity.tenants.GetTenant(asked))).reason == "NOT_FOUND"
        more = tenants.CreateTenantRequest(tenant_id="initech")
        assert (await refused(identity.tenants.CreateTenant(more))).reason == "OPERATOR_ONLY"
        assert [user.username for user in (await identity.users.ListUsers(pb.ListUsersRequest())).users] == ["admin"]


async def test_a_suspended_tenant_is_refused_and_comes_back(identity: Identity) -> None:
    await identity.tenants.CreateTenant(tenants.CreateTenantRequest(tenant_id="globex"))
    with run_as(Principal("globex", "gil", scopes=frozenset({"*"}))):
        made = await identity.account("agent", "read:*")
    for state in (tenants.Tenant.STATE_SUSPENDED, tenants.Tenant.STATE_ACTIVE):
        changed = tenants.Tenant(tenant_id="globex", state=state)
        await identity.tenants.UpdateTenant(tenants.UpdateTenantRequest(tenant=changed))
        if state == tenants.Tenant.STATE_SUSPENDED:
            error = await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=made.api_key)))
            assert error.reason == "TENANT_SUSPENDED"
    assert await identity.who(made.api_key)


async def test_a_reset_password_works_once(identity: Identity) -> None:
    session = await identity.session("ann")
    made = await identity.users.ResetPassword(pb.ResetPasswordRequest(user_id=session.user_id))
    error = await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=session.access_token)))
    assert error.reason == "CREDENTIAL_REVOKED"
    again = await identity.auth.Login(auth.LoginRequest(username="ann", password=made.password))
    assert again.must_change_password
