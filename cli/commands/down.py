"""`soma down`: stop a stack."""

import time
from contextlib import suppress
from typing import Annotated

import typer

from cli.commands.options import DataDirOption, directory

POLL_SECONDS = 0.02


def down(
    data_dir: DataDirOption = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait until every part has ended.")] = 60.0,
) -> None:
    """Stop the stack and wait until every part has ended."""
    import psutil

    from cli.lock import Purpose
    from cli.orders import is_alive
    from services.mesh.call.errors import DeadlineExceeded

    here = directory(data_dir)
    holder = here.lock.holder()
    if holder is None or holder.purpose is not Purpose.STACK:
        typer.echo(f"No stack runs on {here.root}.")
        return
    stack = here.lock.process(holder)
    with suppress(psutil.NoSuchProcess):
        stack.terminate()
    deadline = time.monotonic() + timeout
    while is_alive(stack):
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"the stack (pid {stack.pid}) still runs after {timeout:g} s; soma logs says why")
        time.sleep(POLL_SECONDS)
    typer.echo(f"Stopped the stack on {here.root}.")
