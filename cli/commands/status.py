"""`soma status`: what runs, as a table or as JSON."""

import json
from typing import Annotated, Any

import typer

from cli.commands.options import DEFAULT_DATA_DIR, DataDirOption


def status(
    data_dir: DataDirOption = DEFAULT_DATA_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say what runs where. Exits with 3 when no stack runs."""
    from cli.data_dir import DataDir
    from cli.report import report, table

    directory = DataDir.at(data_dir)
    found: dict[str, Any] = report(directory)
    typer.echo(json.dumps(found, indent=2) if as_json else table(found))
    if not found["running"]:
        raise typer.Exit(3)
