"""Sessions: passwords become tokens, tokens are renewed once each, and a session ends everywhere."""

import asyncio
from typing import TYPE_CHECKING

import grpc
import pytest
import redis.asyncio as aioredis
from soma.identity.v1 import auth_service_pb2 as pb
from soma.identity.v1 import user_service_pb2 as users

from services.mesh.call.authenticator import SOURCE
from services.mesh.call.call import run_as
from services.mesh.call.status import from_rpc_error
from services.mesh.stores.redis import open_client
from tests.identity.conftest import PASSWORD, Identity, refused, serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.databases import OwnedDatabase


async def test_the_first_start_makes_an_administrator_who_has_to_change_the_password(identity: Identity) -> None:
    password = (identity.data_dir / "admin.password").read_text().strip()
    first = await identity.auth.Login(pb.LoginRequest(username="admin", password=password))
    assert first.must_change_password
    who = await identity.who(first.access_token)
    assert not who.scopes
    with run_as(who):
        error = await refused(identity.users.ListUsers(users.ListUsersRequest()))
        assert error.reason == "PASSWORD_CHANGE_REQUIRED"
        await identity.users.ChangePassword(
            users.ChangePasswordRequest(current_password=password, new_password=PASSWORD)
        )
    assert (await identity.who(first.access_token)).scopes == {"*"}
    assert not (identity.data_dir / "admin.password").exists()
    assert (await refused(identity.auth.Login(pb.LoginRequest(username="admin", password=password)))).reason == (
        "LOGIN_REFUSED"
    )


async def test_the_second_start_keeps_the_administrator(
    identity: Identity, database: "OwnedDatabase", redis: aioredis.Redis, tmp_path: "Path"
) -> None:
    before = await database.fetch("SELECT user_id, password FROM identity.person")
    async with serving(database, redis, tmp_path):
        assert await database.fetch("SELECT user_id, password FROM identity.person") == before


@pytest.mark.parametrize(
    ("username", "password", "tenant"),
    [("ann", "wrong", ""), ("nobody", PASSWORD, ""), ("ann", PASSWORD, "globex"), ("ann", "", "")],
)
async def test_a_wrong_name_password_or_tenant_gets_the_same_refusal(
    identity: Identity, username: str, password: str, tenant: str
) -> None:
    await identity.session("ann")
    request = pb.LoginRequest(username=username, password=password or " ", tenant_id=tenant)
    error = await refused(identity.auth.Login(request))
    assert (error.reason, error.message) == ("LOGIN_REFUSED", "the username or the password is wrong")


async def test_a_refresh_token_is_good_for_one_renewal(identity: Identity) -> None:
    session = await identity.session("ann")
    renewed = await identity.auth.Refresh(pb.RefreshRequest(refresh_token=session.refresh_token))
    assert (await identity.who(renewed.access_token)).subject == session.user_id
    again = await identity.auth.Refresh(pb.RefreshRequest(refresh_token=renewed.refresh_token))
    assert again.refresh_token not in (session.refresh_token, renewed.refresh_token)


async def test_a_refresh_token_used_twice_ends_its_session_for_both(identity: Identity) -> None:
    session = await identity.session("ann")
    other = await identity.auth.Login(pb.LoginRequest(username="ann", password=PASSWORD))
    renewed = await identity.auth.Refresh(pb.RefreshRequest(refresh_token=session.refresh_token))
    error = await refused(identity.auth.Refresh(pb.RefreshRequest(refresh_token=session.refresh_token)))
    assert error.reason == "REFRESH_TOKEN_REUSED"
    for token in (session.access_token, renewed.access_token):
        error = await refused(identity.auth.Authenticate(pb.AuthenticateRequest(credential=token)))
        assert error.reason == "CREDENTIAL_REVOKED"
    error = await refused(identity.auth.Refresh(pb.RefreshRequest(refresh_token=renewed.refresh_token)))
    assert error.reason == "REFRESH_TOKEN_INVALID"
    assert await identity.who(other.access_token)


async def test_of_two_renewals_at_once_one_wins_and_the_session_ends(identity: Identity) -> None:
    session = await identity.session("ann")
    request = pb.RefreshRequest(refresh_token=session.refresh_token)
    outcomes = await asyncio.gather(*(identity.auth.Refresh(request) for _ in range(4)), return_exceptions=True)
    assert sum(isinstance(outcome, pb.RefreshResponse) for outcome in outcomes) == 1
    error = await refused(identity.auth.Authenticate(pb.AuthenticateRequest(credential=session.access_token)))
    assert error.reason == "CREDENTIAL_REVOKED"


async def test_a_logout_ends_the_session_and_no_other(identity: Identity) -> None:
    session = await identity.session("ann")
    other = await identity.auth.Login(pb.LoginRequest(username="ann", password=PASSWORD))
    with run_as(await identity.who(session.access_token)):
        await identity.auth.Logout(pb.LogoutRequest())
    error = await refused(identity.auth.Authenticate(pb.AuthenticateRequest(credential=session.access_token)))
    assert error.reason == "CREDENTIAL_REVOKED"
    assert await identity.who(other.access_token)


async def test_a_service_account_has_no_session_to_end(identity: Identity) -> None:
    made = await identity.account("agent", "read:*")
    with run_as(await identity.who(made.api_key)):
        assert (await refused(identity.auth.Logout(pb.LogoutRequest()))).reason == "USER_NEEDED"


async def test_guessing_a_password_is_slowed_down(identity: Identity, redis: aioredis.Redis) -> None:
    await identity.session("ann")
    wrong = pb.LoginRequest(username="ann", password="not the one")
    reasons = [(await refused(identity.auth.Login(wrong))).reason for _ in range(12)]
    assert reasons[:10] == ["LOGIN_REFUSED"] * 10
    assert reasons[-1] == "TOO_MANY_ATTEMPTS"
    error = await refused(identity.auth.Login(pb.LoginRequest(username="ann", password=PASSWORD)))
    assert error.reason == "TOO_MANY_ATTEMPTS"
    assert 0 < (error.facts.retry_after or 0) <= 30


async def login(identity: Identity, password: str, source: str, username: str = "ann") -> str:
    """The outcome of a login from an address: `in`, or the reason of the refusal."""
    request = pb.LoginRequest(username=username, password=password)
    try:
        await identity.auth.Login(request, metadata=((SOURCE, source),))
    except grpc.aio.AioRpcError as error:
        return from_rpc_error(error).reason
    return "in"


async def test_guesses_from_elsewhere_do_not_lock_out_a_user_who_has_logged_in_before(identity: Identity) -> None:
    await identity.session("ann")
    assert await login(identity, PASSWORD, "192.0.2.1") == "in"
    guesses = [await login(identity, "not the one", f"198.51.100.{number % 50}") for number in range(130)]
    assert guesses[:100] == ["LOGIN_REFUSED"] * 100
    # All unknown addresses together have one attempt in a while, so many addresses are of no use.
    assert guesses.count("LOGIN_REFUSED") == 101
    assert await login(identity, PASSWORD, "198.51.100.77") == "TOO_MANY_ATTEMPTS"
    assert [await login(identity, PASSWORD, "192.0.2.1") for _ in range(3)] == ["in"] * 3


async def test_one_address_cannot_try_a_password_with_many_users(identity: Identity) -> None:
    await identity.session("ann")
    outcomes = [await login(identity, "spring 2026 is here", "198.51.100.1", f"u{number}") for number in range(110)]
    assert outcomes[:100] == ["LOGIN_REFUSED"] * 100
    assert outcomes[-1] == "TOO_MANY_ATTEMPTS"
    assert await login(identity, PASSWORD, "192.0.2.1") == "in"


async def test_the_password_cannot_be_guessed_with_a_token(identity: Identity) -> None:
    session = await identity.session("ann")
    wrong = users.ChangePasswordRequest(current_password="not the one", new_password="ten quiet owls look down")
    with run_as(await identity.who(session.access_token)):
        reasons = [(await refused(identity.users.ChangePassword(wrong))).reason for _ in range(12)]
    assert (reasons[0], reasons[-1]) == ("LOGIN_REFUSED", "TOO_MANY_ATTEMPTS")
    assert (await identity.auth.Login(pb.LoginRequest(username="ann", password=PASSWORD))).access_token


async def test_people_log_in_while_redis_is_away(database: "OwnedDatabase", tmp_path: "Path") -> None:
    async with open_client("redis://127.0.0.1:1") as away, serving(database, away, tmp_path) as identity:
        assert (await identity.session("ann")).access_token


async def test_verify_says_who_calls(identity: Identity) -> None:
    session = await identity.session("ann", "viewer")
    with run_as(await identity.who(session.access_token)):
        said = await identity.auth.Verify(pb.VerifyRequest())
    assert (said.valid, said.tenant_id, said.subject, list(said.roles)) == (
        True,
        "default",
        session.user_id,
        ["viewer"],
    )
    assert "read:models" in said.scopes
