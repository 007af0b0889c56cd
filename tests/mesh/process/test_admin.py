"""The admin port: whether a process is alive, and whether it can take calls."""

import httpx
import pytest

from services.mesh.process.admin import admin_app
from services.mesh.process.health import Health


class Store:
    """A dependency that answers, or fails with `problem`."""

    def __init__(self) -> None:
        self.problem = ""

    async def check(self) -> None:
        if self.problem:
            raise LookupError(self.problem)


async def asked(health: Health, path: str, method: str = "GET") -> httpx.Response:
    transport = httpx.ASGITransport(admin_app(health, "1.2.3"))
    async with httpx.AsyncClient(transport=transport, base_url="http://process") as client:
        return await client.request(method, path)


async def test_health_has_the_same_fields_as_the_gateways() -> None:
    body = (await asked(Health({}), "/health")).json()
    assert body.pop("timestamp").endswith("Z")
    assert body == {"status": "healthy", "app_name": "SomaMesh", "version": "1.2.3"}


@pytest.mark.parametrize("path", ["/health", "/ready"])
async def test_a_probe_may_ask_for_the_head_alone(path: str) -> None:
    head = await asked(Health({}), path, "HEAD")
    assert (head.status_code, head.content) == (200, b"")


async def test_a_process_is_ready_without_an_optional_part_and_not_without_a_needed_one() -> None:
    postgres, redis = Store(), Store()
    health = Health({"orchestrator": {"postgres": postgres.check}}, {"orchestrator": {"redis": redis.check}})
    redis.problem = "it is away"
    await health.check()
    ready = await asked(health, "/ready")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "ready": True,
        "faults": {},
        "services": {"orchestrator": {"postgres": "ok", "redis": "it is away"}},
    }
    postgres.problem = "it is full"
    await health.check()
    ready = await asked(health, "/ready")
    assert ready.status_code == 503
    assert (ready.json()["status"], ready.json()["faults"]) == ("not_ready", {"orchestrator": "postgres: it is full"})
