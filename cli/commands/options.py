"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from cli.data_dir import DataDir

CONFIG_FILE = Path("soma.toml")
DEFAULT_DATA_DIR = Path(".somamesh")

DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", envvar="SOMA_DATA_DIR", help="The directory the stack keeps everything in."),
]


def directory(given: Path | None) -> "DataDir":
    """The data directory as given, else as the settings say; they are read only where there is a file of them."""
    from cli.data_dir import DataDir

    config: Path = typer.main.get_current_context().obj or CONFIG_FILE
    if given is not None or not config.is_file():
        return DataDir.at(given or DEFAULT_DATA_DIR)
    from services.mesh.settings import Settings

    return DataDir.at(Settings().data_dir)


def names(value: str) -> tuple[str, ...]:
    """A comma-separated list."""
    return tuple(name.strip() for name in value.split(",") if name.strip())
