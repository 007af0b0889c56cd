"""The admin port of a process: `/health` (it is alive), `/ready` (it can work, each dependency by name), `/metrics`."""

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.mesh.process.health import Health, alive_body

TASKS = Gauge("soma_mesh_tasks", "Tasks in the event loop of a process")


def admin_app(health: Health, version: str) -> Starlette:
    """The ASGI application of the admin port."""

    async def alive(_: Request) -> Response:
        return JSONResponse(alive_body(version))

    async def ready(_: Request) -> Response:
        # A dependency that a service only wants is named here, but it is no fault: other processes miss it as well.
        faults = health.faults()
        services = {
            name: {dependency: why or "ok" for dependency, why in dependencies.items()}
            for name, dependencies in health.dependencies().items()
        }
        body = {
            "status": "not_ready" if faults else "ready",
            "ready": not faults,
            "faults": faults,
            "services": services,
        }
        return JSONResponse(body, status_code=503 if faults else 200)

    async def metrics(_: Request) -> Response:
        TASKS.set(len(asyncio.all_tasks()))
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/health", alive), Route("/ready", ready), Route("/metrics", metrics)])
