"""Runs a stack in this process, which becomes its control process, until it is told to stop."""

import asyncio
import os
import signal
from functools import partial

import uvloop

from cli.data_dir import DataDir
from cli.screen import explain, screen, summary
from cli.secret import secret
from cli.stack import Plan, run_stack
from cli.state import StackState
from cli.status import State
from gateway.control import start_gateway
from services.mesh.errors import Unavailable

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_in_foreground(plan: Plan, directory: DataDir) -> None:
    """Run until SIGINT, SIGTERM or SIGHUP; a second one ends everything at once.

    Raises:
        MeshError: the stack did not start.
    """
    last = uvloop.run(_run(plan, directory))
    if last.state is State.FAILED:
        raise Unavailable(explain(last), reason="STACK_FAILED")


async def _run(plan: Plan, directory: DataDir) -> StackState:
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            # Every child dies with this process.
            os._exit(130)
        stop.set()

    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    announced = False
    with screen() as shown:

        def on_change(stack: StackState) -> None:
            nonlocal announced
            shown.show(stack)
            if stack.state is State.READY and not announced:
                announced = True
                print(summary(directory), flush=True)

        directory.prepare()
        for key, prefix in ((directory.dev_key, "soma_dev_"), (directory.internal_key, "")):
            secret(key, prefix)
        return await run_stack(plan, directory, partial(start_gateway, plan, directory), stop=stop, on_change=on_change)
