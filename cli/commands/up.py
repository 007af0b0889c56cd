"""`soma up`: start a stack, and keep it running or leave it running."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import DEFAULT_DATA_DIR, DataDirOption, names


def up(
    dev: Annotated[bool, typer.Option("--dev", help="One random key for everything, kept in the data directory.")] = False,
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    host: Annotated[str, typer.Option(help="Address of the one public port.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The one public port.", min=1, max=65535)] = 8080,
    detach: Annotated[bool, typer.Option("--detach", help="Return once everything is ready, and leave it running.")] = False,
    apart: Annotated[str, typer.Option(help="Services that get a process of their own, comma-separated.")] = "",
    without: Annotated[str, typer.Option(help="Services not to run here, comma-separated.")] = "",
) -> None:
    """Start the whole stack: Postgres, Redis, Envoy and the services."""
    from cli.data_dir import DataDir
    from cli.stack import Plan
    from services.mesh.errors import FailedPrecondition

    if not dev:
        raise FailedPrecondition(
            "soma up runs only with --dev for now: users, tenants and roles are not there yet, "
            "and without them nobody could be let in safely",
            reason="IDENTITY_MISSING",
        )
    plan = Plan(host, port, apart=names(apart), without=names(without))
    directory = DataDir.at(Path(data_dir))
    if detach:
        from cli.detached import start_detached

        start_detached(plan, directory)
    else:
        from cli.foreground import run_in_foreground

        run_in_foreground(plan, directory)
