"""`soma restore`: make a data directory from a backup."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import DataDirOption, directory


def restore(
    file: Annotated[Path, typer.Argument(help="File that soma backup has written.")],
    data_dir: DataDirOption = None,
) -> None:
    """Make a data directory from a backup. The directory must not exist, or must be empty."""
    from cli.restore import restore as restore_backup

    here = directory(data_dir)
    manifest = asyncio.run(restore_backup(file.expanduser().absolute(), here))
    typer.echo(f"{here.root}: restored as of {manifest.taken}; start it with soma up --dev --data-dir {here.root}")
