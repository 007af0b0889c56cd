"""`soma doctor`: check whether everything that a stack needs is here, and say how to get what is missing."""

from typing import Annotated

import typer

from cli.commands.options import DataDirOption, directory, names


def doctor(
    data_dir: DataDirOption = None,
    host: Annotated[str, typer.Option(help="Address of the public port.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The public port.", min=1, max=65535)] = 8080,
    without: Annotated[str, typer.Option(help="Services that are not to run here, separated by commas.")] = "",
) -> None:
    """Check programs, packages, ports and permissions. Exits with 1 when something is missing."""
    import asyncio
    from itertools import chain

    from cli.checkup import checkup
    from cli.layout import Layout
    from services.declared import needed, used

    services = tuple(chain.from_iterable(Layout(without=names(without)).processes().values()))
    findings = asyncio.run(checkup(directory(data_dir), host, port, (*needed(services), *used(services))))
    for finding in findings:
        typer.echo(f"{'ok     ' if finding.ok else 'missing'}  {finding.subject.ljust(20)}  {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
