"""The identity service with an outside issuer."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis.asyncio as aioredis
from soma.identity.v1.auth_service_pb2 import AuthenticateRequest

from services.identity.outside.settings import Issuer
from services.identity.settings import IdentitySettings
from services.mesh.call import errors
from tests.fakes.issuer import AUDIENCE, FakeIssuer
from tests.identity.conftest import Identity, refused, serving

if TYPE_CHECKING:
    from tests.databases import OwnedDatabase

ALGORITHMS = ("RS256", "ES256", "EdDSA")


def settings_for(issuer: FakeIssuer, **changed: Any) -> IdentitySettings:
    """Settings with this issuer under the name `corp`."""
    given: dict[str, Any] = {
        "url": issuer.url,
        "audience": AUDIENCE,
        "algorithms": ALGORITHMS,
        "tenant": "default",
        "role_claim": "groups",
        "roles": {"staff": "member", "chiefs": "admin"},
        "private_addresses": True,
    }
    return IdentitySettings(issuers={"corp": Issuer(**given | changed)})


@pytest.fixture
async def issuer() -> AsyncIterator[FakeIssuer]:
    """An issuer with a key of each kind."""
    async with FakeIssuer() as running:
        for algorithm in ALGORITHMS:
            running.add_key(algorithm.lower(), algorithm)
        yield running


@pytest.fixture
async def serve(
    database: "OwnedDatabase", redis: aioredis.Redis, tmp_path: Path, issuer: FakeIssuer
) -> Callable[..., Any]:
    """Serves identity with the issuer, and changed settings of it."""
    return lambda **changed: serving(database, redis, tmp_path, settings_for(issuer, **changed))


@pytest.fixture
async def identity(serve: Callable[..., Any]) -> AsyncIterator[Identity]:
    """The service with the issuer."""
    async with serve() as served:
        yield served


async def why(identity: Identity, token: str) -> errors.MeshError:
    """Why a token is refused."""
    return await refused(identity.auth.Authenticate(AuthenticateRequest(credential=token)))
