"""What a stack consists of, and its whole life: the composition root of `soma up`."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from cli.data_dir import DataDir
from cli.parts.control import Control, Gateway
from cli.parts.envoy import Envoy
from cli.parts.external import ExternalPostgres, ExternalRedis
from cli.parts.part import Part
from cli.parts.port import require_free
from cli.parts.postgres import Postgres
from cli.parts.redis import Redis
from cli.parts.serve import Serve
from cli.state import Failure, StackState
from cli.status import State
from cli.supervisor import Supervisor
from services.mesh.errors import InvalidArgument, MeshError

SERVICES = ("edge", "orchestrator", "policy", "memory", "model")
LOG_LINES = 20


@dataclass(frozen=True)
class Plan:
    """What the stack is to be.

    Attributes:
        host, port: of the public port.
        apart: services that get a process of their own.
        without: services this stack does not run; a process may join with them later.
        postgres_url, redis_url: of parts somebody else runs; None for embedded ones.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    apart: Sequence[str] = ()
    without: Sequence[str] = ()
    postgres_url: str | None = None
    redis_url: str | None = None

    @property
    def url(self) -> str:
        """Where a client on this machine finds the public port."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)
        return f"http://{host}:{self.port}"

    def processes(self) -> dict[str, tuple[str, ...]]:
        """The serve processes by name, and the services of each.

        Raises:
            InvalidArgument: a service that does not exist, or one both apart and left out.
        """
        for name in (*self.apart, *self.without):
            if name not in SERVICES:
                raise InvalidArgument(f"there is no service {name!r}; there are {', '.join(SERVICES)}")
        if both := set(self.apart) & set(self.without):
            raise InvalidArgument(f"{', '.join(sorted(both))}: either --apart or --without")
        together = tuple(name for name in SERVICES if name not in self.apart and name not in self.without)
        processes = {"serve": together} if together else {}
        return processes | {f"serve-{name}": (name,) for name in self.apart}


def compose(plan: Plan, data_dir: DataDir, start_gateway: Callable[[], Awaitable[Gateway]]) -> tuple[Part, ...]:
    """The parts of the stack. What needs another starts after it and stops before it."""
    postgres = ExternalPostgres("postgres", plan.postgres_url) if plan.postgres_url else Postgres(data_dir["postgres"])
    redis = ExternalRedis("redis", plan.redis_url) if plan.redis_url else Redis(data_dir["redis"])
    control = Control(start_gateway)
    envoy = Envoy(data_dir["envoy"] / "bootstrap.json", plan.host, plan.port, after=["control"])
    serve = [
        Serve(
            name,
            services,
            # Envoy outlives them at the end, so that what they accepted is answered through it.
            after=["postgres", "redis", "envoy"],
            registry=lambda: control.registry,
            admin=control.admin,
            environment=lambda: {
                "SOMA_DATA_DIR": str(data_dir.root),
                "SOMA_POSTGRES_URL": postgres.url,
                "SOMA_REDIS_URL": redis.url,
            },
        )
        for name, services in plan.processes().items()
    ]
    return (postgres, redis, control, envoy, *serve)


async def run_stack(
    plan: Plan,
    data_dir: DataDir,
    start_gateway: Callable[[], Awaitable[Gateway]],
    *,
    stop: asyncio.Event,
    on_change: Callable[[StackState], None],
) -> StackState:
    """Run a stack on `data_dir` until `stop` is set; its last state, which says why if it did not start.

    Raises:
        MeshError: the data directory, the port or the plan cannot be used; nothing was started.
    """
    plan.processes()
    data_dir.prepare()
    with data_dir.locked():
        require_free(plan.host, plan.port)
        state = StackState.of_this_process(plan.url)

        def publish() -> None:
            nonlocal state
            state = replace(state, parts=supervisor.statuses)
            state.write(data_dir.state)
            on_change(state)

        supervisor = Supervisor(compose(plan, data_dir, start_gateway), data_dir["logs"], publish)
        failure: Failure | None = None
        started = asyncio.create_task(supervisor.start())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({started, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                started.result()
                state = replace(state, state=State.READY)
                publish()
                await stopping
        except MeshError as error:
            failed = supervisor.failure(LOG_LINES)
            failure = Failure(error.message, failed[0].name, failed[1]) if failed else Failure(error.message)
        finally:
            started.cancel()
            stopping.cancel()
            state = replace(state, state=State.STOPPING, failure=failure)
            publish()
            await supervisor.stop()
            state = replace(state, state=State.FAILED if failure else State.STOPPED)
            publish()
    return state
