"""The state of the stack on `/health` and `/ready`."""

from datetime import UTC, datetime, timedelta

import aiohttp
import httpx
import pytest

from gateway.pages import Pages
from services.mesh.call.authenticator import DevAuthenticator
from services.mesh.process.registry.leases import Joined
from services.mesh.process.registry.service import RegistryService
from services.mesh.testing.local import KEY
from services.mesh.transport.directory import Directory

WELL = (("edge", "redis", ""), ("model", "llm", ""), ("model", "postgres", ""))


class FixedRegistry(RegistryService):
    """A registry with a fixed list of instances."""

    def __init__(self, *joined: Joined) -> None:
        super().__init__(Directory())
        for each in joined:
            self._joined[each.instance_id] = each


def joined(name: str, *dependencies: tuple[str, str, str], faults: tuple[tuple[str, str], ...] = ()) -> Joined:
    """An instance of the edge and the model service."""
    instance = Joined(name, ("edge", "model"), (), "a", "", {}, "", 1, "v", heard=0.0)
    return instance.with_health(faults, dependencies)


async def answer(path: str, *instances: Joined, method: str = "GET") -> httpx.Response:
    """The answer of a stack that must have an edge and a model service."""
    async with aiohttp.ClientSession() as session:
        app = Pages(FixedRegistry(*instances), ("edge", "model"), DevAuthenticator(KEY), session, "1.2.3").app()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://mesh") as client:
            return await client.request(method, path)


@pytest.mark.parametrize("prefix", ["", "/api/v1"])
async def test_health_has_the_documented_fields(prefix: str) -> None:
    body = (await answer(f"{prefix}/health")).json()
    timestamp = datetime.fromisoformat(body.pop("timestamp"))
    assert abs(datetime.now(UTC) - timestamp) < timedelta(minutes=1)
    assert body == {"status": "healthy", "app_name": "SomaMesh", "version": "1.2.3"}
    head = await answer(f"{prefix}/health", method="HEAD")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_stack_without_faults_is_ready() -> None:
    ready = await answer("/ready", joined("one", *WELL))
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "ready": True,
        "checks": {"database": "healthy", "redis": "healthy", "llm": "healthy"},
        "services": {"edge": "ok", "model": "ok"},
    }
    assert (await answer("/ready", joined("one", *WELL), method="HEAD")).status_code == 200


async def test_a_failing_part_makes_the_stack_not_ready_and_is_named() -> None:
    away = (("edge", "redis", "it is away"), *WELL[1:])
    ready = await answer("/ready", joined("one", *away))
    assert ready.status_code == 503
    assert ready.json() == {
        "status": "not_ready",
        "ready": False,
        "checks": {"database": "healthy", "redis": "unhealthy: it is away", "llm": "healthy"},
        "services": {"edge": "redis: it is away", "model": "ok"},
    }
    # Another instance reaches it, so calls that need it can go there.
    assert (await answer("/ready", joined("one", *away), joined("two", *WELL))).json()["status"] == "ready"


async def test_a_service_that_cannot_work_is_shown_with_what_it_lacks() -> None:
    full = (WELL[0], WELL[1], ("model", "postgres", "it is full"))
    body = (await answer("/ready", joined("one", *full, faults=(("model", "postgres: it is full"),)))).json()
    assert body["checks"]["database"] == "unhealthy: it is full"
    assert body["services"] == {"edge": "ok", "model": "postgres: it is full"}


async def test_a_missing_service_has_no_live_instance_and_its_checks_are_unhealthy() -> None:
    body = (await answer("/ready")).json()
    assert body["services"] == {"edge": "no live instance", "model": "no live instance"}
    assert body["checks"] == dict.fromkeys(("database", "redis", "llm"), "unhealthy: no live instance")
    # There is no check for a dependency that no service of the stack has.
    assert (await answer("/ready", joined("one", *WELL[:2]))).json()["checks"].keys() == {"redis", "llm"}
