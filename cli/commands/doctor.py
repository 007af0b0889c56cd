"""`soma doctor`: is everything a stack needs here, and if not, how to get it."""

from typing import Annotated

import typer

from cli.commands.options import DEFAULT_DATA_DIR, DataDirOption


def doctor(
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    host: Annotated[str, typer.Option(help="Address of the public port.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The public port.", min=1, max=65535)] = 8080,
) -> None:
    """Check programs, packages, ports and permissions. Exits with 1 when something is missing."""
    import asyncio

    from cli.checkup import checkup
    from cli.data_dir import DataDir

    findings = asyncio.run(checkup(DataDir.at(data_dir), host, port))
    for finding in findings:
        typer.echo(f"{'ok     ' if finding.ok else 'missing'}  {finding.subject.ljust(20)}  {finding.detail}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
