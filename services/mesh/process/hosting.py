"""Hosts services in one process: builds them in their order, lets calls reach them, and sets their jobs to work."""

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from services.mesh.call.handlers import collect
from services.mesh.call.pipeline import Pipeline
from services.mesh.declaration import Declaration
from services.mesh.mesh import Connections, Mesh
from services.mesh.parts import POSTGRES
from services.mesh.process.jobs import run_jobs
from services.mesh.service import Registration, Service


async def host(
    declarations: Iterable[tuple[Declaration[Any], Any]],
    mesh: Mesh,
    connections: Connections,
    wrap: Pipeline,
    stack: AsyncExitStack,
    common: Sequence[Registration] = (),
) -> dict[str, Service]:
    """The built services by name; none is called, and no job begins, before all are built.

    Closing `stack` ends the jobs, then closes what the services opened.

    Args:
        declarations: each with its settings; their schemas are in the database.
        mesh: what the services are built on; it has every part that one of them needs.
        connections: those behind `mesh.connect`; from now on they lead to the services, too.
        wrap: what a call to one of the services passes.
        common: servicers of the mesh itself, served beside those of the services.

    Raises:
        MeshError: what a service raises when it is built.
    """
    services: dict[str, Service] = {}
    for declaration, settings in declarations:
        services[declaration.name] = await declaration.built(mesh, settings, stack)
    connections.serve(wrap.wrap_all(collect([*common, *(pair for s in services.values() for pair in s.servicers)])))
    pool = mesh.postgres if POSTGRES.name in mesh.parts else None
    for name, service in services.items():
        run_jobs(stack, name, service.jobs, pool)
    return services
