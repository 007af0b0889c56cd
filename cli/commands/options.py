"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_DATA_DIR = Path(".somamesh")

DataDirOption = Annotated[Path, typer.Option("--data-dir", help="The directory the stack keeps everything in.")]


def names(value: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(name.strip() for name in value.split(",") if name.strip())
