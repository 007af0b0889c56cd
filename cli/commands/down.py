"""`soma down`: stop a stack."""

import os
import signal
import time
from typing import Annotated

import typer

from cli.commands.options import DataDirOption, directory

POLL_SECONDS = 0.02


def down(
    data_dir: DataDirOption = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the end of every part.")] = 60.0,
) -> None:
    """Stop the stack and wait until every part has ended."""
    from cli.state import running
    from services.mesh.errors import DeadlineExceeded

    here = directory(data_dir)
    stack = running(here.state)
    if stack is None:
        typer.echo(f"No stack runs on {here.root}.")
        return
    os.kill(stack.pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while stack.alive:
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"the stack (pid {stack.pid}) still runs after {timeout:g} s; soma logs says why")
        time.sleep(POLL_SECONDS)
    typer.echo(f"Stopped {stack.url}.")
