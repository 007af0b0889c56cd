"""Runs a stack with this process as its control process, until a signal stops it."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import uvloop

from cli.data_dir import DataDir
from cli.descriptors import raise_limit
from cli.layout import Layout
from cli.orders import ORDERS
from cli.parts.log import PartLog
from cli.screen import explain, screen
from cli.stack import run_stack
from cli.state import StackState
from cli.status import State
from gateway.control import start_gateway
from services.mesh.call.errors import Unavailable
from services.mesh.process.logs import configure
from services.mesh.settings import Settings

WhenReady = Callable[[], Awaitable[bool]]
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_in_foreground(settings: Settings, directory: DataDir, layout: Layout, when_ready: WhenReady) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP; a second signal ends everything at once.

    Args:
        when_ready: called once, when every part is ready; the stack stops when it returns False or raises.

    Raises:
        MeshError: the stack did not start, or `when_ready` raised it.
    """
    raise_limit()
    directory.prepare()
    configure(settings.log_level, settings.log_format)
    with _standard_error_in(PartLog(directory.log("control"))):
        last = uvloop.run(_run(settings, directory, layout, when_ready))
    if last.state is State.FAILED:
        raise Unavailable(explain(last), reason="STACK_FAILED")


@contextmanager
def _standard_error_in(log: PartLog) -> Iterator[None]:
    """Write this process's standard error, also that of C libraries, into a log beside those of the other parts."""
    terminal, output = os.dup(2), log.open()
    os.dup2(output, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
        os.close(output)


async def _run(settings: Settings, directory: DataDir, layout: Layout, when_ready: WhenReady) -> StackState:
    stop = asyncio.Event()
    ready: asyncio.Task[None] | None = None

    async def on_ready() -> None:
        try:
            if not await when_ready():
                stop.set()
        except BaseException:
            stop.set()
            raise

    def on_signal() -> None:
        if stop.is_set():
            # Every child dies with this process.
            os._exit(130)
        stop.set()

    asked = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(ORDERS, asked.set)
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    with screen() as shown:

        def on_change(stack: StackState) -> None:
            nonlocal ready
            shown.show(stack)
            if stack.state is State.READY and ready is None:
                ready = asyncio.create_task(on_ready())

        last = await run_stack(settings, directory, layout, start_gateway, stop=stop, asked=asked, on_change=on_change)
    if ready is not None:
        ready.cancel()
        with suppress(asyncio.CancelledError):
            await ready
    return last
