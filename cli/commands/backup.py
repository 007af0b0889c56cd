"""`soma backup`: all data of a stack, in one file."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import DataDirOption, directory


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write. It contains secrets.")],
    data_dir: DataDirOption = None,
) -> None:
    """Back up the data directory, while its stack runs or while it is stopped."""
    from cli.backup import back_up

    target = file.expanduser().absolute()
    manifest = asyncio.run(back_up(directory(data_dir), target))
    size = target.stat().st_size / 2**20
    schemas = ", ".join(f"{name} {number}" for name, number in manifest.schemas.items())
    kept = f"Postgres {manifest.postgres}, schemas {schemas or 'none'}" if manifest.postgres else "no Postgres"
    typer.echo(f"{file}: {size:.1f} MB, {kept}")
