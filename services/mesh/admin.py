"""The admin port of a process: `/health` (it lives), `/ready` (it can work, each dependency by name), `/metrics`."""

import asyncio

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.mesh.health import Health

TASKS = Gauge("soma_mesh_tasks", "Tasks in the event loop of a process")


def admin_app(health: Health, version: str) -> Starlette:
    """The ASGI application of the admin port."""

    async def alive(_: Request) -> Response:
        return JSONResponse({"status": "ok", "version": version})

    async def ready(_: Request) -> Response:
        faults = health.faults()
        body = {"ready": not faults, "faults": faults, "services": health.dependencies()}
        return JSONResponse(body, status_code=503 if faults else 200)

    async def metrics(_: Request) -> Response:
        TASKS.set(len(asyncio.all_tasks()))
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return Starlette(routes=[Route("/health", alive), Route("/ready", ready), Route("/metrics", metrics)])
