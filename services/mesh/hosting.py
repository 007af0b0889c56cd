"""Hosts services in one process: builds them in order, lets calls reach them, and starts their jobs."""

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from typing import Any

from services.mesh.call.handlers import Registration, collect
from services.mesh.call.pipeline import Pipeline
from services.mesh.declaration import Declaration
from services.mesh.mesh import Mesh
from services.mesh.parts import POSTGRES
from services.mesh.process.jobs import run_jobs
from services.mesh.service import Service
from services.mesh.transport.channels import Channels


async def host(
    declarations: Iterable[tuple[Declaration[Any], Any]],
    mesh: Mesh,
    channels: Channels,
    wrap: Pipeline,
    stack: AsyncExitStack,
    common: Sequence[Registration] = (),
) -> dict[str, Service]:
    """Build the services; none is called, and no job begins, before all are built. Returns them by name.

    Closing `stack` ends the jobs, then closes what the services opened.

    Args:
        declarations: each with its settings; their schemas are up to date.
        mesh: is handed to the services; it has every part that one of them needs.
        channels: the channels of `mesh.connect`; from now on they lead to these services as well.
        wrap: the pipeline that a call to one of the services passes.
        common: servicers of the mesh itself, which are served beside those of the services.

    Raises:
        MeshError: what a service raises when it is built.
    """
    services: dict[str, Service] = {}
    for declaration, settings in declarations:
        services[declaration.name] = await declaration.built(mesh, settings, stack)
    channels.serve(wrap.wrap_all(collect([*common, *(pair for s in services.values() for pair in s.servicers)])))
    pool = mesh.postgres.system if POSTGRES.name in mesh.parts else None
    for name, service in services.items():
        run_jobs(stack, name, service.jobs, pool)
    return services
