"""Service accounts: keys are shown once, expire, overlap when they are rotated, and end when they are revoked."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from soma.identity.v1 import auth_service_pb2 as auth
from soma.identity.v1 import service_account_service_pb2 as pb

from services.mesh.call import api_key
from services.mesh.call.call import run_as
from services.mesh.call.principal import Principal
from tests.identity.conftest import Identity, refused

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

LIMITED = Principal("default", "limited", scopes=frozenset({"write:accounts", "read:accounts", "read:agents"}))
STRANGER = Principal("globex", "gil", scopes=frozenset({"*"}))


async def test_a_key_stands_for_its_account_and_nothing_more(identity: Identity) -> None:
    made = await identity.account("agent-1", "read:*", "execute:tools")
    who = await identity.who(made.api_key)
    assert (who.tenant_id, who.subject, who.credential_id) == ("default", made.service_account_id, made.key_id)
    assert who.scopes == {"read:*", "execute:tools"}
    assert who.tier == "standard"


async def test_a_key_expires_in_90_days_unless_another_time_is_asked_for(identity: Identity) -> None:
    made = await identity.account("usual", "read:*")
    days = (made.expire_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC)) / timedelta(days=1)
    assert days == pytest.approx(90, abs=0.01)
    forever = await identity.accounts.CreateServiceAccount(
        pb.CreateServiceAccountRequest(name="forever", scopes=["read:*"], expires_in_days=0)
    )
    assert not forever.HasField("expire_time")


async def test_the_database_has_no_key(identity: Identity, database: "OwnedDatabase") -> None:
    made = await identity.account("secret", "read:*")
    found = await identity.accounts.GetServiceAccount(
        pb.GetServiceAccountRequest(service_account_id=made.service_account_id)
    )
    assert made.api_key not in str(found)
    assert [key.key_id for key in found.service_account.keys] == [made.key_id]


async def test_an_expired_key_is_refused_as_expired(identity: Identity, database: "OwnedDatabase") -> None:
    made = await identity.account("old", "read:*")
    await database.execute(
        "UPDATE identity.api_key SET expire_time = now() - interval '1 second' WHERE key_id = $1", made.key_id
    )
    error = await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=made.api_key)))
    assert error.reason == "CREDENTIAL_EXPIRED"


@pytest.mark.parametrize("change", [lambda key: key[:-1] + "!", lambda key: key[:-7] + "A" + key[-6:], str.lower])
async def test_a_changed_key_is_refused(identity: Identity, change: Callable[[str], str]) -> None:
    made = await identity.account("typo", "read:*")
    changed = change(made.api_key)
    error = await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=changed)))
    assert error.reason == "CREDENTIAL_INVALID"


async def test_another_secret_with_a_known_id_and_a_right_checksum_is_refused(identity: Identity) -> None:
    made = await identity.account("guessed", "read:*")
    forged = api_key.make(made.key_id)
    assert api_key.read(forged.text) == forged
    error = await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=forged.text)))
    assert error.reason == "CREDENTIAL_INVALID"


async def test_both_keys_work_while_a_rotation_overlaps(identity: Identity) -> None:
    made = await identity.account("rotated", "read:*")
    rotated = await identity.accounts.RotateServiceAccountKey(
        pb.RotateServiceAccountKeyRequest(service_account_id=made.service_account_id, overlap_seconds=60)
    )
    assert (await identity.who(made.api_key)).subject == (await identity.who(rotated.api_key)).subject
    old = next(key for key in rotated.service_account.keys if key.key_id == made.key_id)
    assert old.expire_time.ToDatetime(tzinfo=UTC) - datetime.now(UTC) < timedelta(seconds=61)


async def test_a_rotation_without_overlap_ends_the_earlier_key_at_once(identity: Identity) -> None:
    made = await identity.account("rotated", "read:*")
    rotated = await identity.accounts.RotateServiceAccountKey(
        pb.RotateServiceAccountKeyRequest(service_account_id=made.service_account_id, overlap_seconds=0)
    )
    assert (await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=made.api_key)))).reason == (
        "CREDENTIAL_REVOKED"
    )
    assert await identity.who(rotated.api_key)


async def test_a_revoked_account_has_no_working_key_and_gets_none(identity: Identity) -> None:
    made = await identity.account("ended", "read:*")
    named = pb.RevokeServiceAccountRequest(service_account_id=made.service_account_id)
    revoked = (await identity.accounts.RevokeServiceAccount(named)).service_account
    assert revoked.state == pb.ServiceAccount.STATE_REVOKED
    error = await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=made.api_key)))
    assert error.reason == "CREDENTIAL_REVOKED"
    rotate = pb.RotateServiceAccountKeyRequest(service_account_id=made.service_account_id)
    assert (await refused(identity.accounts.RotateServiceAccountKey(rotate))).reason == "SERVICE_ACCOUNT_REVOKED"


async def test_one_key_can_be_revoked_alone(identity: Identity) -> None:
    made = await identity.account("two", "read:*")
    rotated = await identity.accounts.RotateServiceAccountKey(
        pb.RotateServiceAccountKeyRequest(service_account_id=made.service_account_id)
    )
    await identity.accounts.RevokeApiKey(
        pb.RevokeApiKeyRequest(service_account_id=made.service_account_id, key_id=made.key_id)
    )
    assert (await refused(identity.auth.Authenticate(auth.AuthenticateRequest(credential=made.api_key)))).reason == (
        "CREDENTIAL_REVOKED"
    )
    assert await identity.who(rotated.api_key)


@pytest.mark.parametrize("scope", ["*", "read:*", "execute:tools", "write:agents"])
async def test_nobody_grants_a_scope_that_they_lack(identity: Identity, scope: str) -> None:
    with run_as(LIMITED):
        error = await refused(identity.account("more", "read:agents", scope))
    assert (error.reason, error.facts.metadata["scope"]) == ("SCOPE_NOT_HELD", scope)


async def test_nobody_takes_over_an_account_that_may_do_more(identity: Identity) -> None:
    made = await identity.account("strong", "*")
    with run_as(LIMITED):
        error = await refused(
            identity.accounts.RotateServiceAccountKey(
                pb.RotateServiceAccountKeyRequest(service_account_id=made.service_account_id)
            )
        )
    assert error.reason == "SCOPE_NOT_HELD"


async def test_another_tenant_sees_and_changes_nothing(identity: Identity) -> None:
    made = await identity.account("ours", "read:*")
    one = made.service_account_id
    with run_as(STRANGER):
        assert not (await identity.accounts.ListServiceAccounts(pb.ListServiceAccountsRequest())).service_accounts
        for call in (
            identity.accounts.GetServiceAccount(pb.GetServiceAccountRequest(service_account_id=one)),
            identity.accounts.RevokeServiceAccount(pb.RevokeServiceAccountRequest(service_account_id=one)),
            identity.accounts.RevokeApiKey(pb.RevokeApiKeyRequest(service_account_id=one, key_id=made.key_id)),
            identity.accounts.RotateServiceAccountKey(pb.RotateServiceAccountKeyRequest(service_account_id=one)),
        ):
            assert (await refused(call)).reason == "NOT_FOUND"
    assert await identity.who(made.api_key)


async def test_a_name_is_taken_once(identity: Identity) -> None:
    await identity.account("once", "read:*")
    assert (await refused(identity.account("once", "read:*"))).reason == "ALREADY_EXISTS"


async def test_accounts_are_listed_newest_first_over_pages(identity: Identity) -> None:
    names = [f"account-{number}" for number in range(5)]
    for name in names:
        await identity.account(name, "read:*")
    found, token = [], ""
    while True:
        page = await identity.accounts.ListServiceAccounts(pb.ListServiceAccountsRequest(page_size=2, page_token=token))
        found += [account.name for account in page.service_accounts]
        token = page.next_page_token
        if not token:
            break
    assert found == names[::-1]


async def test_a_tier_that_does_not_exist_is_refused(identity: Identity) -> None:
    request = pb.CreateServiceAccountRequest(name="tier", scopes=["read:*"], tier="gold")
    assert (await refused(identity.accounts.CreateServiceAccount(request))).reason == "TIER_UNKNOWN"
