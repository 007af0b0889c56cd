"""People with tokens of an outside issuer: who they are here, what they may do, and how they are kept out."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest
from soma.identity.v1 import auth_service_pb2 as auth
from soma.identity.v1 import tenant_service_pb2 as tenants
from soma.identity.v1 import user_service_pb2 as users

from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from tests.fakes.issuer import FakeIssuer
from tests.identity.conftest import Identity, refused
from tests.identity.outside.conftest import ALGORITHMS, why
from tests.identity.test_delegations import acting, delegated, ended

Serve = Callable[..., Any]


async def _user(identity: Identity, username: str) -> users.User:
    page = await identity.users.ListUsers(users.ListUsersRequest(page_size=500))
    return next(user for user in page.users if user.username == username)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_person_gets_a_user_and_the_roles_of_the_token(
    identity: Identity, issuer: FakeIssuer, algorithm: str
) -> None:
    token = issuer.token(algorithm.lower(), groups=["staff", "tennis"], email="ann@corp.example", name="Ann")
    who = await identity.who(token)
    assert (who.tenant_id, who.roles) == ("default", ("member",))
    assert who.allows("execute:chat") and not who.allows("write:users")
    user = await _user(identity, "corp:ann")
    assert (user.user_id, user.email, user.display_name) == (who.subject, "ann@corp.example", "Ann")
    assert (user.outside.issuer, user.outside.subject) == ("corp", "ann")


async def test_the_same_person_is_the_same_user_with_the_roles_of_each_token(
    identity: Identity, issuer: FakeIssuer
) -> None:
    first = await identity.who(issuer.token("es256", groups=["staff"]))
    second = await identity.who(issuer.token("rs256", groups="chiefs"))
    third = await identity.who(issuer.token("eddsa"))
    assert first.subject == second.subject == third.subject
    assert (first.roles, second.roles, third.roles) == (("member",), ("admin",), ())
    assert len({first.credential_id, second.credential_id, third.credential_id}) == 3


async def test_many_first_tokens_at_once_make_one_user(identity: Identity, issuer: FakeIssuer) -> None:
    found = await asyncio.gather(*(identity.who(issuer.token("es256", jti=str(number))) for number in range(8)))
    assert len({who.subject for who in found}) == 1


@pytest.mark.parametrize("subject", ["Ann", "ann doe", "a" * 255, "ü", "auth0|5f", "ann:1"])
async def test_every_subject_is_another_user(identity: Identity, issuer: FakeIssuer, subject: str) -> None:
    plain = await identity.who(issuer.token("es256", sub="ann"))
    other = await identity.who(issuer.token("es256", sub=subject))
    assert plain.subject != other.subject
    assert (await identity.who(issuer.token("es256", sub=subject, jti="2"))).subject == other.subject


async def test_roles_that_an_administrator_gives_are_added(identity: Identity, issuer: FakeIssuer) -> None:
    token = issuer.token("es256", groups=["staff"])
    who = await identity.who(token)
    user = users.User(user_id=who.subject, roles=["viewer"])
    await identity.users.UpdateUser(users.UpdateUserRequest(user=user))
    assert set((await identity.who(token)).roles) == {"member", "viewer"}


async def test_a_nested_claim_a_claim_with_dots_and_default_roles(serve: Serve, issuer: FakeIssuer) -> None:
    async with serve(role_claim="realm_access.roles", default_roles=["viewer"]) as identity:
        nested = await identity.who(issuer.token("es256", realm_access={"roles": ["staff"]}))
        assert set(nested.roles) == {"member", "viewer"}
        named: dict[str, Any] = {"realm_access.roles": ["chiefs"]}
        dotted = await identity.who(issuer.token("es256", **named))
        assert set(dotted.roles) == {"admin", "viewer"}
        odd = await identity.who(issuer.token("es256", realm_access={"roles": {"staff": True}}))
        assert odd.roles == ("viewer",)


async def test_the_tenant_is_the_one_that_the_settings_name_for_a_claim(serve: Serve, issuer: FakeIssuer) -> None:
    async with serve(tenant="", tenant_claim="org", tenants={"o-1": "globex", "o-2": "nowhere"}) as identity:
        await identity.tenants.CreateTenant(tenants.CreateTenantRequest(tenant_id="globex"))
        assert (await identity.who(issuer.token("es256", org="o-1"))).tenant_id == "globex"
        for odd in ("globex", "default", "o-2", ["o-1", "o-2"], None, {"o-1": 1}):
            assert (await why(identity, issuer.token("es256", org=odd))).reason == "USER_NOT_ADMITTED"


async def test_without_making_users_only_those_are_let_in_that_somebody_made(serve: Serve, issuer: FakeIssuer) -> None:
    async with serve(make_users=False) as identity:
        token = issuer.token("es256", groups=["staff"])
        assert (await why(identity, token)).reason == "USER_NOT_ADMITTED"
        outside = users.OutsideIdentity(issuer="corp", subject="ann")
        made = await identity.users.CreateUser(users.CreateUserRequest(username="ann", outside=outside))
        assert (made.password, list(made.user.roles)) == ("", [])
        assert (await identity.who(token)).subject == made.user.user_id
        again = users.CreateUserRequest(username="ann-2", outside=outside)
        assert (await refused(identity.users.CreateUser(again))).reason == "ALREADY_EXISTS"


async def test_an_outside_user_has_no_password(identity: Identity, issuer: FakeIssuer) -> None:
    who = await identity.who(issuer.token("es256"))
    reset = users.ResetPasswordRequest(user_id=who.subject)
    assert (await refused(identity.users.ResetPassword(reset))).code.name == "FAILED_PRECONDITION"
    outside = users.OutsideIdentity(issuer="corp", subject="ben")
    both = users.CreateUserRequest(username="ben", password="tea with a little milk", outside=outside)
    assert (await refused(identity.users.CreateUser(both))).code.name == "INVALID_ARGUMENT"
    unknown = users.CreateUserRequest(username="ben", outside=users.OutsideIdentity(issuer="x", subject="ben"))
    assert (await refused(identity.users.CreateUser(unknown))).reason == "ISSUER_UNKNOWN"


async def test_a_disabled_user_is_out_and_a_logout_ends_its_token(identity: Identity, issuer: FakeIssuer) -> None:
    token, other = issuer.token("es256"), issuer.token("es256", jti="2")
    with run_as(await identity.who(token)):
        await identity.auth.Logout(auth.LogoutRequest())
    assert (await why(identity, token)).reason == "CREDENTIAL_REVOKED"
    who = await identity.who(other)
    user = users.User(user_id=who.subject, state=users.User.STATE_DISABLED)
    await identity.users.UpdateUser(users.UpdateUserRequest(user=user))
    assert (await why(identity, other)).reason == "CREDENTIAL_REVOKED"
    assert (await why(identity, issuer.token("es256", jti="3"))).reason == "CREDENTIAL_REVOKED"


async def test_the_second_form_of_a_signature_does_not_undo_a_logout(identity: Identity, issuer: FakeIssuer) -> None:
    """Of an ECDSA signature (r, s), (r, -s) is valid as well."""
    token = issuer.token("es256")
    with run_as(await identity.who(token)):
        await identity.auth.Logout(auth.LogoutRequest())
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    other = raw[:32] + (order - int.from_bytes(raw[32:])).to_bytes(32)
    twin = f"{signed}.{base64.urlsafe_b64encode(other).rstrip(b'=').decode()}"
    assert (await why(identity, twin)).reason == "CREDENTIAL_REVOKED"


async def test_work_of_an_outside_user_ends_with_its_right(identity: Identity, issuer: FakeIssuer) -> None:
    who = await identity.who(issuer.token("es256", groups=["staff"]))
    token = await delegated(identity, who, "execute:chat")
    assert (await acting(identity, token)).subject == who.subject
    user = users.User(user_id=who.subject, state=users.User.STATE_DISABLED)
    await identity.users.UpdateUser(users.UpdateUserRequest(user=user))
    assert (await ended(identity, token)).reason == "CREDENTIAL_REVOKED"


async def test_a_local_user_of_the_same_name_is_not_taken_over(identity: Identity, issuer: FakeIssuer) -> None:
    made = await identity.users.CreateUser(users.CreateUserRequest(username="ann", roles=["admin"]))
    who = await identity.who(issuer.token("es256", sub="ann", preferred_username="ann", email="ann@corp.example"))
    assert (who.subject != made.user.user_id, who.roles) == (True, ())


async def test_a_suspended_tenant_is_refused(serve: Serve, issuer: FakeIssuer) -> None:
    async with serve(tenant="globex") as identity:
        token = issuer.token("es256")
        assert (await why(identity, token)).reason == "USER_NOT_ADMITTED"
        await identity.tenants.CreateTenant(tenants.CreateTenantRequest(tenant_id="globex"))
        assert (await identity.who(token)).tenant_id == "globex"
        state = tenants.Tenant(tenant_id="globex", state=tenants.Tenant.STATE_SUSPENDED)
        with run_as(Principal("default", "operator", scopes=frozenset({"*"}))):
            await identity.tenants.UpdateTenant(tenants.UpdateTenantRequest(tenant=state))
        assert (await why(identity, token)).reason == "TENANT_SUSPENDED"
