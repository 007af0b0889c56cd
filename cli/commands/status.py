"""`soma status`: the running parts, as a table or as JSON."""

import json
from typing import Annotated, Any

import typer

from cli.commands.options import DataDirOption, directory


def status(
    data_dir: DataDirOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show which parts run, and where. Exits with 3 when no stack runs."""
    from cli.report import report, table

    found: dict[str, Any] = report(directory(data_dir))
    typer.echo(json.dumps(found, indent=2) if as_json else table(found))
    if not found["running"]:
        raise typer.Exit(3)
