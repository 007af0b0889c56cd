"""Work with a delegated token: it acts for its asker, and is ended when the token is refused."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from soma.identity.v1 import auth_service_pb2 as pb
from soma.identity.v1.principal_pb2 import Actor
from soma.identity.v1.principal_pb2 import Principal as PrincipalMessage

from services.mesh.authentication import delegation
from services.mesh.authentication.authenticator import CachedAuthenticator
from services.mesh.authentication.cache import PrincipalCache
from services.mesh.authentication.delegation import IdentityDelegations
from services.mesh.call import errors
from services.mesh.call.call import principal
from services.mesh.testing.waiting import until

ASKER = PrincipalMessage(
    tenant_id="acme", subject="ann", scopes=["execute:chat"], credential_id="session", act=[Actor(subject="work:1")]
)


class FakeIdentity:
    """Answers as the identity service does; a test says how."""

    def __init__(self) -> None:
        self.asked = 0
        self.error: errors.MeshError | None = None
        self.sequence = 0

    async def Delegate(self, request: pb.DelegateRequest, timeout: float) -> pb.DelegateResponse:
        return pb.DelegateResponse(delegated_token=f"{request.actor}.{request.lifetime_seconds}.x")

    async def Authenticate(self, request: pb.AuthenticateRequest, timeout: float) -> pb.AuthenticateResponse:
        self.asked += 1
        assert request.delegated
        if self.error is not None:
            raise self.error
        return pb.AuthenticateResponse(principal=ASKER, revocation_sequence=self.sequence)


@pytest.fixture
def identity() -> FakeIdentity:
    return FakeIdentity()


@pytest.fixture
async def cache() -> PrincipalCache:
    return PrincipalCache(asyncio.get_running_loop().time)


@pytest.fixture
async def delegations(identity: Any, cache: PrincipalCache) -> AsyncIterator[IdentityDelegations]:
    authenticator = CachedAuthenticator(identity, cache, None)
    yield IdentityDelegations(identity, authenticator, cache)
    await authenticator.close()


async def forever(delegations: IdentityDelegations, began: asyncio.Event) -> None:
    """Work that never ends by itself."""
    async with delegations.acting("a.b.c"):
        began.set()
        await asyncio.Event().wait()


REVOKED = errors.Unauthenticated("revoked", reason="CREDENTIAL_REVOKED")
LOST = errors.PermissionDenied("lost", reason="DELEGATION_ENDED")


async def test_a_block_runs_as_the_asker_with_the_actor_in_act(delegations: IdentityDelegations) -> None:
    async with delegations.acting(await delegations.delegate("work:1", ["execute:chat"], 1.5)) as call:
        assert call.inside
        assert (principal().subject, principal().act) == ("ann", ("work:1",))


@pytest.mark.parametrize("error", [REVOKED, LOST], ids=["revoked", "a scope was lost"])
@pytest.mark.parametrize(
    "revocation",
    [
        pb.Revocation(sequence=1, kind=pb.Revocation.KIND_CREDENTIAL, tenant_id="acme", id="session"),
        pb.Revocation(sequence=1, kind=pb.Revocation.KIND_SUBJECT, tenant_id="acme", id="ann"),
        pb.Revocation(sequence=1, kind=pb.Revocation.KIND_TENANT, tenant_id="acme"),
    ],
    ids=["credential", "subject", "tenant"],
)
async def test_a_revocation_ends_the_work_with_its_reason(
    delegations: IdentityDelegations,
    identity: FakeIdentity,
    cache: PrincipalCache,
    revocation: pb.Revocation,
    error: errors.MeshError,
) -> None:
    began = asyncio.Event()
    work = asyncio.create_task(forever(delegations, began))
    await began.wait()
    identity.error = error
    cache.revoke(revocation)
    with pytest.raises(errors.MeshError) as raised:
        await work
    assert raised.value.reason == error.reason


@pytest.mark.parametrize(
    "change",
    [
        lambda cache: cache.revoke(
            pb.Revocation(sequence=1, kind=pb.Revocation.KIND_SUBJECT, tenant_id="acme", id="ann")
        ),
        lambda cache: cache.clear(),
    ],
    ids=["a revocation that leaves it its right", "a stream that began again"],
)
async def test_work_that_still_may_go_on_does(
    delegations: IdentityDelegations,
    identity: FakeIdentity,
    cache: PrincipalCache,
    change: Callable[[PrincipalCache], None],
) -> None:
    async with delegations.acting("a.b.c"):
        identity.sequence = 1
        change(cache)
        await until(lambda: identity.asked == 2)


async def test_what_was_revoked_before_the_watch_began_is_noticed(
    delegations: IdentityDelegations, identity: FakeIdentity, cache: PrincipalCache
) -> None:
    """The answer is not kept, because the revocation came while it was on its way."""
    cache.revoke(pb.Revocation(sequence=7, kind=pb.Revocation.KIND_SUBJECT, tenant_id="acme", id="ann"))
    began = asyncio.Event()
    work = asyncio.create_task(forever(delegations, began))
    await began.wait()
    identity.error = REVOKED
    with pytest.raises(errors.Unauthenticated):
        await work


async def test_work_ends_when_identity_is_away_for_longer_than_an_answer_is_kept(
    delegations: IdentityDelegations, identity: FakeIdentity, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("KEPT_SECONDS", 0.1), ("FRESH_SECONDS", 0.02), ("_RETRY_SECONDS", 0.02)):
        monkeypatch.setattr(delegation, name, seconds)
    began = asyncio.Event()
    work = asyncio.create_task(forever(delegations, began))
    await began.wait()
    identity.error = errors.Unavailable("away")
    with pytest.raises(errors.Unavailable) as raised:
        await work
    assert raised.value.reason == "IDENTITY_UNAVAILABLE"
    assert identity.asked > 2


async def test_an_error_a_timeout_and_a_cancellation_of_the_work_stay_what_they_are(
    delegations: IdentityDelegations,
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with delegations.acting("a.b.c"):
            raise ZeroDivisionError
    with pytest.raises(TimeoutError):
        async with delegations.acting("a.b.c"):
            raise TimeoutError
    began = asyncio.Event()
    work = asyncio.create_task(forever(delegations, began))
    await began.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_refused_work_does_not_begin(delegations: IdentityDelegations, identity: FakeIdentity) -> None:
    identity.error = REVOKED
    began = asyncio.Event()
    with pytest.raises(errors.Unauthenticated):
        await forever(delegations, began)
    assert not began.is_set()
