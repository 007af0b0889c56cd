"""The parts of a stack, and how they are started and stopped: the composition root of `soma up`."""

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from itertools import chain

from cli.certificates import ensure, renewal, wanted
from cli.data_dir import DataDir
from cli.layout import Layout
from cli.lock import Purpose
from cli.orders import Orders
from cli.parts.control import Control, Gateway
from cli.parts.envoy import Envoy
from cli.parts.needed import NEEDED, located, part_is_here, require_known
from cli.parts.part import Part
from cli.parts.port import reserved
from cli.parts.serve import Serve
from cli.parts.triton import ExternalTriton, Triton
from cli.state import StackState, StartFailure, StateFile
from cli.status import State
from cli.supervisor import Supervisor
from services.declared import needed, used
from services.mesh.call.errors import MeshError
from services.mesh.process.jobs import run_job
from services.mesh.process.keys import ensure_key
from services.mesh.settings import Settings
from services.mesh.transport.address import joined, reached, resolved
from services.model.adapters.triton.settings import TritonSettings
from services.model.embedding.settings import EmbeddingSettings

StartGateway = Callable[[Settings, Iterable[str]], Awaitable[Gateway]]

LOG_LINES = 20
CLOSE_SECONDS = 10.0


def public_url(settings: Settings, address: str) -> str:
    """The URL of the public port for clients on this machine; the port listens on `address`."""
    host = settings.host if reached(address) == address else reached(address)
    return f"{'https' if settings.tls else 'http'}://{joined(host, settings.port)}"


def compose(settings: Settings, data_dir: DataDir, layout: Layout, start_gateway: StartGateway) -> tuple[Part, ...]:
    """The parts of the stack. A part starts after the parts that it needs, and stops before them.

    Postgres, Redis and similar parts are included only if a service of this stack needs them or the layout names them.
    The host in `settings` must be an IP address here.
    """
    processes = layout.processes()
    needs = {name: (*needed(services), *_usable(services, settings)) for name, services in processes.items()}
    users = Counter(chain.from_iterable(needs.values()))
    parts = {
        name: located(name, settings, data_dir, users[name]) for name in NEEDED if name in users or name in layout.parts
    }
    control = Control(lambda: start_gateway(settings, set(chain.from_iterable(processes.values()))))
    triton = _triton(data_dir, layout)
    envoy = Envoy(data_dir["envoy"] / "bootstrap.json", settings.host, settings.port, after=["control"])

    def urls_of(part: str) -> Mapping[str, str]:
        return settings.part_urls(part) if parts[part].external else parts[part].settings

    def environment(name: str) -> dict[str, str]:
        return {
            "SOMA_NAME": name,
            "SOMA_MTLS": "on" if settings.mutual_tls else "off",
            "SOMA_CONTROL": control.registry,
            "SOMA_DATA_DIR": str(data_dir.root),
            # An empty URL counts as not set. A process gets no password of a part that none of its services needs.
            **{f"SOMA_{setting.upper()}": "" for part in NEEDED for setting in Settings.part_settings(part)},
            **{f"SOMA_{setting.upper()}": url for part in needs[name] for setting, url in urls_of(part).items()},
            **({"SOMA_TRITON_URL": triton.url} if triton is not None and "model" in processes[name] else {}),
            # Several processes run on this machine, so they use any free ports.
            **{f"SOMA_{port.upper()}": "0" for port in Settings.inner_ports()},
        }

    # Seconds to drain and to close connections.
    grace = settings.drain_seconds + 2 * settings.grace_seconds + CLOSE_SECONDS
    leave_grace = settings.leave_seconds + grace
    serve = [
        Serve(
            name,
            services,
            after=[*needs[name], "control"],
            # It forwards their last answers. They start beside it, because they need it for nothing.
            outlived_by=["envoy"],
            environment=partial(environment, name),
            admin=control.admin,
            grace=grace,
            leave_grace=leave_grace,
        )
        for name, services in processes.items()
    ]
    return (*parts.values(), *([triton] if triton is not None else []), control, envoy, *serve)


def _triton(data_dir: DataDir, layout: Layout) -> Triton | ExternalTriton | None:
    settings = TritonSettings()
    if settings.url:
        return ExternalTriton(settings)
    if not layout.triton:
        return None
    embedding = EmbeddingSettings()
    if "directory" not in embedding.model_fields_set:
        embedding = embedding.model_copy(update={"directory": data_dir["models"]})
    return Triton(data_dir["triton"], settings, embedding)


def _usable(services: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """The parts that these services use and need not have, as far as they can run here or are elsewhere."""
    return tuple(part for part in used(services) if part_is_here(part) or settings.part_url(part) is not None)


async def run_stack(
    settings: Settings,
    data_dir: DataDir,
    layout: Layout,
    start_gateway: StartGateway,
    *,
    stop: asyncio.Event,
    asked: asyncio.Event,
    on_change: Callable[[StackState], None],
) -> StackState:
    """Run a stack on `data_dir` until `stop` is set; return its last state, which says why a start failed.

    Each time `asked` is set, it reads the waiting orders.

    Raises:
        MeshError: the data directory, the port or the layout cannot be used; nothing was started.
    """
    layout.processes()
    require_known(layout.parts)
    # Resolved only once, because a name may get another address.
    address = resolved(settings.host)
    data_dir.prepare()
    # Inner ports are chosen by the system. It must not choose the port that Envoy needs, now or after a restart.
    with data_dir.locked(Purpose.STACK) as lock, reserved(address, settings.port):
        state = StackState.of_this_process(public_url(settings, address))
        file = StateFile(data_dir, lock)
        file.tell(state)
        needed = wanted(settings, layout.processes(), address)
        with data_dir.usable():
            # Remove orders of an earlier stack; no command waits for their answers.
            shutil.rmtree(data_dir.orders, ignore_errors=True)
            if settings.dev:
                ensure_key(data_dir.dev_key, "soma_dev_")
            else:
                # The key of an earlier development stack on this directory stops working.
                data_dir.dev_key.unlink(missing_ok=True)
            ensure_key(data_dir.internal_key)
            ensure(data_dir.root, needed)

        def publish() -> None:
            nonlocal state
            state = replace(state, parts=supervisor.statuses)
            file.tell(state)
            on_change(state)

        parts = compose(settings.model_copy(update={"host": address}), data_dir, layout, start_gateway)
        supervisor = Supervisor(parts, data_dir["logs"], publish)
        failure: StartFailure | None = None
        started = asyncio.create_task(supervisor.start())
        stopping = asyncio.create_task(stop.wait())
        beside = AsyncExitStack()
        run_job(beside, "control", file.job)
        running: list[asyncio.Task[None]] = []
        try:
            await asyncio.wait({started, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if started.done():
                started.result()
                state = replace(state, state=State.READY)
                supervisor.tell()
                orders = Orders(data_dir.orders, asked, supervisor.restart)
                running += [run_job(beside, "control", job) for job in (orders.job, renewal(data_dir.root, needed))]
                await stopping
        except MeshError as error:
            failed = supervisor.failure(LOG_LINES)
            failure = StartFailure(error.message, failed[0].name, failed[1]) if failed else StartFailure(error.message)
        finally:
            started.cancel()
            stopping.cancel()
            for task in running:
                task.cancel()
            state = replace(state, state=State.STOPPING, failure=failure)
            supervisor.tell()
            try:
                await supervisor.stop()
            finally:
                state = replace(state, state=State.FAILED if failure else State.STOPPED)
                supervisor.tell()
                await beside.aclose()
    return state
