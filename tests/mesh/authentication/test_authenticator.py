"""Credentials in a process: asked about once, kept for a minute, dropped when they are revoked."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from soma.identity.v1 import auth_service_pb2 as pb
from soma.identity.v1.principal_pb2 import Principal as PrincipalMessage

from services.mesh.authentication.authenticator import CachedAuthenticator
from services.mesh.authentication.cache import FRESH_SECONDS, KEPT_SECONDS, PrincipalCache
from services.mesh.call import api_key, errors
from services.mesh.testing.waiting import until

KEY = api_key.make()
OTHER = api_key.make()


class FakeIdentity:
    """Answers as the identity service does; a test says who has which key, and may hold answers back."""

    def __init__(self) -> None:
        self.keys: dict[str, PrincipalMessage] = {
            key.text: PrincipalMessage(
                tenant_id="acme", subject=f"of {key.key_id}", scopes=["*"], credential_id=key.key_id
            )
            for key in (KEY, OTHER)
        }
        self.asked: list[str] = []
        self.sequence = 0
        self.away = False
        self.go = asyncio.Event()
        self.go.set()

    async def Authenticate(self, request: pb.AuthenticateRequest, timeout: float) -> pb.AuthenticateResponse:
        self.asked.append(request.credential)
        # What is answered is what was so when the question came.
        found, sequence, away = self.keys.get(request.credential), self.sequence, self.away
        await self.go.wait()
        if away:
            raise errors.Unavailable("away")
        if found is None:
            raise errors.Unauthenticated("unknown", reason="CREDENTIAL_INVALID")
        return pb.AuthenticateResponse(principal=found, revocation_sequence=sequence)


class Clock:
    """The time of the cache."""

    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.offset


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def identity() -> FakeIdentity:
    return FakeIdentity()


@pytest.fixture
def cache(clock: Clock) -> PrincipalCache:
    return PrincipalCache(clock)


@pytest.fixture
async def authenticator(identity: Any, cache: PrincipalCache) -> AsyncIterator[CachedAuthenticator]:
    authenticator = CachedAuthenticator(identity, cache, "soma_dev_key")
    yield authenticator
    await authenticator.close()


def revocation(sequence: int, kind: "pb.Revocation.Kind.ValueType", id: str, tenant_id: str = "acme") -> pb.Revocation:
    return pb.Revocation(sequence=sequence, kind=kind, tenant_id=tenant_id, id=id)


async def test_many_calls_with_one_key_ask_once(authenticator: CachedAuthenticator, identity: FakeIdentity) -> None:
    found = await asyncio.gather(*(authenticator.authenticate(None, KEY.text) for _ in range(100)))
    assert {who.credential_id for who in found} == {KEY.key_id}
    await authenticator.authenticate(f"Bearer {KEY.text}", None)
    assert identity.asked == [KEY.text]


async def test_a_call_that_ends_early_does_not_take_the_answer_from_the_others(
    authenticator: CachedAuthenticator, identity: FakeIdentity
) -> None:
    identity.go.clear()
    first = asyncio.create_task(authenticator.authenticate(None, KEY.text))
    second = asyncio.create_task(authenticator.authenticate(None, KEY.text))
    await until(lambda: bool(identity.asked))
    first.cancel()
    identity.go.set()
    assert (await second).credential_id == KEY.key_id


async def test_a_refused_key_works_as_soon_as_it_is_made(
    authenticator: CachedAuthenticator, identity: FakeIdentity
) -> None:
    made = api_key.make()
    with pytest.raises(errors.Unauthenticated):
        await authenticator.authenticate(None, made.text)
    identity.keys[made.text] = PrincipalMessage(tenant_id="acme", subject="new")
    assert (await authenticator.authenticate(None, made.text)).subject == "new"


@pytest.mark.parametrize(
    "text",
    ["x", KEY.text[:-1] + ("a" if KEY.text[-1] != "a" else "b"), "soma_" + "a" * 54],
    ids=["short", "one character wrong", "no checksum"],
)
async def test_what_has_not_the_form_of_a_credential_is_refused_without_asking(
    authenticator: CachedAuthenticator, identity: FakeIdentity, text: str
) -> None:
    with pytest.raises(errors.Unauthenticated):
        await authenticator.authenticate(None, text)
    assert not identity.asked


@pytest.mark.parametrize(
    ("kind", "id"),
    [
        (pb.Revocation.KIND_CREDENTIAL, KEY.key_id),
        (pb.Revocation.KIND_SUBJECT, f"of {KEY.key_id}"),
        (pb.Revocation.KIND_TENANT, ""),
    ],
    ids=["credential", "subject", "tenant"],
)
async def test_a_revocation_drops_what_it_concerns(
    authenticator: CachedAuthenticator,
    identity: FakeIdentity,
    cache: PrincipalCache,
    kind: "pb.Revocation.Kind.ValueType",
    id: str,
) -> None:
    await authenticator.authenticate(None, KEY.text)
    cache.revoke(revocation(1, kind, id, tenant_id="globex"))
    await authenticator.authenticate(None, KEY.text)
    assert len(identity.asked) == 1
    cache.revoke(revocation(2, kind, id))
    del identity.keys[KEY.text]
    with pytest.raises(errors.Unauthenticated):
        await authenticator.authenticate(None, KEY.text)


async def test_an_answer_from_before_a_revocation_is_not_kept(
    authenticator: CachedAuthenticator, identity: FakeIdentity, cache: PrincipalCache
) -> None:
    """Identity reads the key; it is revoked; the revocation arrives before the answer does."""
    identity.go.clear()
    asking = asyncio.create_task(authenticator.authenticate(None, KEY.text))
    await until(lambda: bool(identity.asked))
    del identity.keys[KEY.text]
    cache.revoke(revocation(1, pb.Revocation.KIND_CREDENTIAL, KEY.key_id))
    identity.go.set()
    await asking
    with pytest.raises(errors.Unauthenticated):
        await authenticator.authenticate(None, KEY.text)


async def test_an_answer_from_after_a_revocation_is_kept(
    authenticator: CachedAuthenticator, identity: FakeIdentity, cache: PrincipalCache
) -> None:
    cache.revoke(revocation(7, pb.Revocation.KIND_SUBJECT, f"of {KEY.key_id}"))
    identity.sequence = 7
    await authenticator.authenticate(None, KEY.text)
    await authenticator.authenticate(None, KEY.text)
    assert len(identity.asked) == 1


async def test_without_identity_known_keys_work_for_a_minute_and_others_are_unavailable(
    authenticator: CachedAuthenticator, identity: FakeIdentity, clock: Clock
) -> None:
    await authenticator.authenticate(None, KEY.text)
    identity.away = True
    clock.offset = FRESH_SECONDS + 1
    assert (await authenticator.authenticate(None, KEY.text)).credential_id == KEY.key_id
    with pytest.raises(errors.Unavailable) as unavailable:
        await authenticator.authenticate(None, OTHER.text)
    assert unavailable.value.reason == "IDENTITY_UNAVAILABLE"
    clock.offset = KEPT_SECONDS + 1
    with pytest.raises(errors.Unavailable):
        await authenticator.authenticate(None, KEY.text)


async def test_a_key_in_use_is_asked_about_again_before_its_minute_is_over(
    authenticator: CachedAuthenticator, identity: FakeIdentity, clock: Clock
) -> None:
    await authenticator.authenticate(None, KEY.text)
    clock.offset = FRESH_SECONDS + 1
    await authenticator.authenticate(None, KEY.text)
    await until(lambda: len(identity.asked) == 2)


async def test_the_key_of_a_development_stack_asks_nobody(
    authenticator: CachedAuthenticator, identity: FakeIdentity
) -> None:
    assert (await authenticator.authenticate("Bearer soma_dev_key", None)).subject == "dev"
    assert not identity.asked
