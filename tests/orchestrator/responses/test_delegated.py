"""A response that is made in the background acts for whoever asked, and ends when that is revoked."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as aioredis
from soma.identity.v1 import auth_service_pb2 as auth
from soma.identity.v1.principal_pb2 import Actor
from soma.identity.v1.principal_pb2 import Principal as PrincipalMessage
from soma.orchestrator.v1 import response_service_pb2 as pb

from services.mesh.authentication.authenticator import CachedAuthenticator
from services.mesh.authentication.cache import PrincipalCache
from services.mesh.authentication.delegation import IdentityDelegations
from services.mesh.call import errors
from services.mesh.call.call import principal, run_as
from services.mesh.testing.local import SOMEBODY
from services.mesh.testing.waiting import until
from tests.fakes.model import answer
from tests.orchestrator.conftest import Fakes, Orchestrator, serving
from tests.orchestrator.responses.test_responses import asking, get

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase


class FakeIdentity:
    """Makes tokens of `SOMEBODY`, until the test refuses them."""

    def __init__(self) -> None:
        self.asked: list[auth.DelegateRequest] = []
        self.error: errors.MeshError | None = None

    async def Delegate(self, request: auth.DelegateRequest, timeout: float) -> auth.DelegateResponse:
        assert principal() == SOMEBODY
        if self.error is not None:
            raise self.error
        self.asked.append(request)
        return auth.DelegateResponse(delegated_token=f"{request.actor}.x.y")

    async def Authenticate(self, request: auth.AuthenticateRequest, timeout: float) -> auth.AuthenticateResponse:
        if self.error is not None:
            raise self.error
        acting = PrincipalMessage(
            tenant_id=SOMEBODY.tenant_id,
            subject=SOMEBODY.subject,
            scopes=["execute:chat"],
            credential_id="key",
            act=[Actor(subject=request.credential.split(".")[0])],
        )
        return auth.AuthenticateResponse(principal=acting)


@pytest.fixture
def identity() -> FakeIdentity:
    return FakeIdentity()


@pytest.fixture
async def cache() -> PrincipalCache:
    return PrincipalCache(asyncio.get_running_loop().time)


@pytest.fixture
async def orchestrator(
    database: "OwnedDatabase", redis: aioredis.Redis, fakes: Fakes, identity: Any, cache: PrincipalCache
) -> AsyncIterator[Orchestrator]:
    authenticator = CachedAuthenticator(identity, cache, None)
    delegations = IdentityDelegations(identity, authenticator, cache)
    async with serving(database, redis, fakes, delegations=delegations, background_seconds=90.5) as served:
        yield served
    await authenticator.close()


async def begun(orchestrator: Orchestrator, **settings: Any) -> str:
    """The id of a response that is being made; its client has left."""
    with run_as(SOMEBODY):
        call = orchestrator.responses.CreateResponse(asking(**settings))
        event = await anext(aiter(call))
        call.cancel()
    return str(event.created.response_id)


async def test_it_asks_for_the_scope_of_a_chat_for_as_long_as_it_may_take(
    orchestrator: Orchestrator, identity: FakeIdentity, fakes: Fakes
) -> None:
    fakes.model.answers = [answer("Hello")]
    response_id = await begun(orchestrator, background=True)
    (asked,) = identity.asked
    assert (asked.actor, list(asked.scopes), asked.lifetime_seconds) == (
        f"response:{response_id}",
        ["execute:chat"],
        91,
    )


async def test_a_response_that_is_part_of_its_call_needs_no_token(
    orchestrator: Orchestrator, identity: FakeIdentity, fakes: Fakes
) -> None:
    fakes.model.answers = [answer("Hello")]
    with run_as(SOMEBODY):
        events = [event async for event in orchestrator.responses.CreateResponse(asking())]
    assert events[-1].finished.state == pb.Response.STATE_COMPLETED
    assert not identity.asked


@pytest.mark.parametrize(
    "error",
    [
        errors.Unauthenticated("the API key was revoked", reason="CREDENTIAL_REVOKED"),
        errors.PermissionDenied("the scope was lost", reason="DELEGATION_ENDED"),
    ],
    ids=["revoked", "lost the scope"],
)
async def test_it_fails_with_the_reason_as_soon_as_its_asker_is_refused(
    orchestrator: Orchestrator, identity: FakeIdentity, cache: PrincipalCache, fakes: Fakes, error: errors.MeshError
) -> None:
    fakes.model.answers = [answer("Hello", asyncio.Event())]
    response_id = await begun(orchestrator, background=True)
    assert (await get(orchestrator, response_id)).state == pb.Response.STATE_IN_PROGRESS
    identity.error = error
    revoked = auth.Revocation.KIND_CREDENTIAL
    cache.revoke(auth.Revocation(sequence=1, kind=revoked, tenant_id=SOMEBODY.tenant_id, id="key"))

    async def failed() -> bool:
        return (await get(orchestrator, response_id)).state == pb.Response.STATE_FAILED

    await until(failed)
    found = await get(orchestrator, response_id)
    assert (found.error.reason, found.error.message) == (error.reason, error.message)


async def test_it_does_not_begin_while_identity_is_away(orchestrator: Orchestrator, identity: FakeIdentity) -> None:
    identity.error = errors.Unavailable("away")
    with run_as(SOMEBODY), pytest.raises(Exception, match="away"):
        await anext(aiter(orchestrator.responses.CreateResponse(asking(background=True))))
