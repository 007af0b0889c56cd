"""`soma restart`: replace or restart processes while the stack serves."""

from typing import Annotated

import typer

from cli.commands.options import DataDirOption, directory


def restart(
    parts: Annotated[list[str] | None, typer.Argument(help="Names of parts, as soma status shows them.")] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Restart the serving processes, or only the named parts, one after the other.

    A serving process is replaced: the new process is ready before the old one finishes its calls and ends, so no
    request fails. Postgres, Redis and Envoy are stopped and started again.
    """
    from cli.orders import order_restart
    from cli.state import running
    from cli.status import State
    from services.mesh.call.errors import FailedPrecondition

    here = directory(data_dir)
    stack = running(here)
    if stack is None or stack.state is not State.READY:
        raise FailedPrecondition(f"no stack is ready on {here.root}", reason="STACK_NOT_RUNNING")
    order_restart(here, parts or [])
    after = running(here)
    if after is None:
        raise FailedPrecondition(f"the stack on {here.root} has ended in the meantime", reason="STACK_NOT_RUNNING")
    pids = {part.name: part.pid for part in stack.parts}
    for part in after.parts:
        if part.pid != pids[part.name]:
            typer.echo(f"{part.name}: pid {pids[part.name]} → {part.pid}")
