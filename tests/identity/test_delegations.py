"""Delegated tokens: work goes on for somebody, with no more than that somebody may do, and ends when that ends."""

from datetime import UTC, datetime

import pytest
from soma.identity.v1 import auth_service_pb2 as auth
from soma.identity.v1 import role_service_pb2 as roles
from soma.identity.v1 import service_account_service_pb2 as accounts
from soma.identity.v1 import tenant_service_pb2 as tenants
from soma.identity.v1 import user_service_pb2 as users

from services.mesh.call import errors
from services.mesh.call.authenticator import DEV_PRINCIPAL
from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from services.mesh.call.token import principal_of
from tests.identity.conftest import PASSWORD, Identity, refused


async def delegated(identity: Identity, who: Principal, *scopes: str, actor: str = "work:1", seconds: int = 60) -> str:
    """A token with which an actor acts for somebody."""
    with run_as(who):
        answer = await identity.auth.Delegate(
            auth.DelegateRequest(actor=actor, scopes=scopes, lifetime_seconds=seconds)
        )
    return answer.delegated_token


async def acting(identity: Identity, token: str) -> Principal:
    """Who acts with a token."""
    answer = await identity.auth.Authenticate(auth.AuthenticateRequest(credential=token, delegated=True))
    return principal_of(answer.principal)


async def ended(identity: Identity, token: str) -> errors.MeshError:
    """Why a token is refused."""
    return await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=token, delegated=True)))


async def test_an_actor_acts_for_its_asker_with_the_scopes_that_the_work_needs(identity: Identity) -> None:
    made = await identity.account("agent", "read:*", "execute:chat")
    asker = await identity.who(made.api_key)
    who = await acting(identity, await delegated(identity, asker, "read:models"))
    assert who == Principal(
        asker.tenant_id, asker.subject, (), frozenset({"read:models"}), asker.credential_id, asker.tier, ("work:1",)
    )


async def test_who_asked_whom_stays_known(identity: Identity) -> None:
    asker = await identity.person("ann", "member")
    first = await acting(identity, await delegated(identity, asker, "execute:chat", actor="workflow:1"))
    second = await acting(identity, await delegated(identity, first, "execute:chat", actor="agent:2"))
    assert (second.subject, second.act) == (asker.subject, ("agent:2", "workflow:1"))


async def test_a_chain_of_actors_has_an_end(identity: Identity) -> None:
    who = await identity.person("ann", "member")
    for number in range(16):
        who = await acting(identity, await delegated(identity, who, "execute:chat", actor=f"agent:{number}"))
    with run_as(who):
        request = auth.DelegateRequest(actor="agent:17", scopes=["execute:chat"], lifetime_seconds=1)
        assert (await refused(identity.auth.Delegate(request))).code is errors.Code.FAILED_PRECONDITION


@pytest.mark.parametrize("scope", ["*", "read:*", "execute:tools"])
async def test_nobody_delegates_what_they_lack(identity: Identity, scope: str) -> None:
    asker = await identity.who((await identity.account("agent", "read:models")).api_key)
    with run_as(asker):
        request = auth.DelegateRequest(actor="work:1", scopes=["read:models", scope], lifetime_seconds=60)
        error = await refused(identity.auth.Delegate(request))
    assert (error.reason, error.facts.metadata["scope"]) == ("SCOPE_NOT_HELD", scope)


async def test_an_actor_delegates_no_more_than_it_got(identity: Identity) -> None:
    asker = await identity.who((await identity.account("agent", "*")).api_key)
    actor = await acting(identity, await delegated(identity, asker, "read:models"))
    with run_as(actor):
        request = auth.DelegateRequest(actor="work:2", scopes=["read:memories"], lifetime_seconds=60)
        assert (await refused(identity.auth.Delegate(request))).reason == "SCOPE_NOT_HELD"


async def test_a_process_on_its_own_behalf_has_nothing_to_delegate(identity: Identity) -> None:
    with run_as(Principal("default", "memory", scopes=frozenset({"execute:models"}))):
        request = auth.DelegateRequest(actor="work:1", scopes=["execute:models"], lifetime_seconds=60)
        assert (await refused(identity.auth.Delegate(request))).code is errors.Code.PERMISSION_DENIED


async def test_a_token_lasts_as_long_as_asked_and_no_longer_than_the_settings_say(identity: Identity) -> None:
    asker = await identity.person("ann", "member")
    for seconds, lasts in ((60, 60), (10**9, 7 * 24 * 3600)):
        with run_as(asker):
            request = auth.DelegateRequest(actor="work:1", scopes=["execute:chat"], lifetime_seconds=seconds)
            answer = await identity.auth.Delegate(request)
        found = await identity.auth.Authenticate(
            auth.AuthenticateRequest(credential=answer.delegated_token, delegated=True)
        )
        assert found.expire_time.seconds == answer.expire_time.seconds
        left = answer.expire_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)
        assert left.total_seconds() == pytest.approx(lasts, abs=5)


async def test_nobody_comes_in_from_outside_with_a_delegated_token(identity: Identity) -> None:
    token = await delegated(identity, await identity.person("ann", "member"), "execute:chat")
    error = await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=token)))
    assert error.reason == "TOKEN_INVALID"


async def test_an_access_token_is_no_delegated_token(identity: Identity) -> None:
    session = await identity.session("ann")
    assert (await ended(identity, session.access_token)).reason == "TOKEN_INVALID"


@pytest.mark.parametrize("end", ["revoke account", "revoke key", "rotate without overlap"])
async def test_work_ends_with_the_key_that_asked_for_it(identity: Identity, end: str) -> None:
    made = await identity.account("agent", "execute:chat")
    token = await delegated(identity, await identity.who(made.api_key), "execute:chat")
    one = made.service_account_id
    if end == "revoke account":
        await identity.accounts.RevokeServiceAccount(accounts.RevokeServiceAccountRequest(service_account_id=one))
    elif end == "revoke key":
        revoke = accounts.RevokeApiKeyRequest(service_account_id=one, key_id=made.key_id)
        await identity.accounts.RevokeApiKey(revoke)
    else:
        rotate = accounts.RotateServiceAccountKeyRequest(service_account_id=one, overlap_seconds=0)
        await identity.accounts.RotateServiceAccountKey(rotate)
    assert (await ended(identity, token)).reason == "CREDENTIAL_REVOKED"


async def test_work_goes_on_when_its_key_is_rotated_with_an_overlap_and_expires(identity: Identity) -> None:
    made = await identity.account("agent", "execute:chat")
    token = await delegated(identity, await identity.who(made.api_key), "execute:chat")
    rotate = accounts.RotateServiceAccountKeyRequest(service_account_id=made.service_account_id, overlap_seconds=1)
    await identity.accounts.RotateServiceAccountKey(rotate)
    assert (await acting(identity, token)).subject == made.service_account_id


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        ("disable", "CREDENTIAL_REVOKED"),
        ("delete", "CREDENTIAL_REVOKED"),
        ("reset password", "CREDENTIAL_REVOKED"),
        ("refresh token used twice", "CREDENTIAL_REVOKED"),
        ("roles", "DELEGATION_ENDED"),
    ],
)
async def test_work_ends_with_the_right_of_the_person_who_asked(identity: Identity, end: str, reason: str) -> None:
    session = await identity.session("ann", "member")
    token = await delegated(identity, await identity.who(session.access_token), "execute:chat")
    await acting(identity, token)
    match end:
        case "disable":
            user = users.User(user_id=session.user_id, state=users.User.STATE_DISABLED)
            await identity.users.UpdateUser(users.UpdateUserRequest(user=user))
        case "delete":
            await identity.users.DeleteUser(users.DeleteUserRequest(user_id=session.user_id))
        case "reset password":
            await identity.users.ResetPassword(users.ResetPasswordRequest(user_id=session.user_id))
        case "roles":
            user = users.User(user_id=session.user_id, roles=["viewer"])
            await identity.users.UpdateUser(users.UpdateUserRequest(user=user))
        case _:
            again = auth.RefreshRequest(refresh_token=session.refresh_token)
            await identity.auth.Refresh(again)
            await refused(identity.auth.Refresh(again))
    error = await ended(identity, token)
    assert error.reason == reason
    if reason == "DELEGATION_ENDED":
        assert error.facts.metadata["scope"] == "execute:chat"


async def test_work_goes_on_after_a_logout(identity: Identity) -> None:
    session = await identity.session("ann", "member")
    asker = await identity.who(session.access_token)
    token = await delegated(identity, asker, "execute:chat")
    with run_as(asker):
        await identity.auth.Logout(auth.LogoutRequest())
    assert (await acting(identity, token)).subject == asker.subject


async def test_a_role_that_changes_ends_the_work_that_needs_it(identity: Identity) -> None:
    role = roles.Role(name="pilot", scopes=["execute:chat"])
    await identity.roles.SetRole(roles.SetRoleRequest(role=role))
    token = await delegated(identity, await identity.person("ann", "pilot"), "execute:chat")
    await identity.roles.SetRole(roles.SetRoleRequest(role=roles.Role(name="pilot", scopes=["read:models"])))
    assert (await ended(identity, token)).reason == "DELEGATION_ENDED"


async def test_a_suspended_tenant_has_no_work_done(identity: Identity) -> None:
    await identity.tenants.CreateTenant(tenants.CreateTenantRequest(tenant_id="globex"))
    with run_as(Principal("globex", "gil", scopes=frozenset({"*"}))):
        made = await identity.account("agent", "execute:chat")
    token = await delegated(identity, await identity.who(made.api_key), "execute:chat")
    suspended = tenants.Tenant(tenant_id="globex", state=tenants.Tenant.STATE_SUSPENDED)
    await identity.tenants.UpdateTenant(tenants.UpdateTenantRequest(tenant=suspended))
    assert (await ended(identity, token)).reason == "TENANT_SUSPENDED"


async def test_work_of_the_development_key_ends_when_the_key_is_deleted(identity: Identity) -> None:
    key = identity.data_dir / "dev.key"
    key.write_text("soma_dev_key\n")
    key.chmod(0o600)
    token = await delegated(identity, DEV_PRINCIPAL, "execute:chat")
    assert (await acting(identity, token)).act == ("work:1",)
    key.unlink()
    assert (await ended(identity, token)).reason == "CREDENTIAL_REVOKED"


async def test_the_password_of_a_session_is_not_needed_for_its_work(identity: Identity) -> None:
    """A change of the own password ends the other sessions, and their work."""
    session = await identity.session("ann", "member")
    other = await identity.auth.Login(auth.LoginRequest(username="ann", password=PASSWORD))
    kept = await delegated(identity, await identity.who(session.access_token), "execute:chat")
    lost = await delegated(identity, await identity.who(other.access_token), "execute:chat")
    with run_as(await identity.who(session.access_token)):
        await identity.users.ChangePassword(
            users.ChangePasswordRequest(current_password=PASSWORD, new_password=PASSWORD + " and milk")
        )
    assert await acting(identity, kept)
    assert (await ended(identity, lost)).reason == "CREDENTIAL_REVOKED"
