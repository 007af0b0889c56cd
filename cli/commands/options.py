"""Options that several commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.mesh.call.credential import trimmed

if TYPE_CHECKING:
    from cli.data_dir import DataDir

CONFIG_FILE = Path("soma.toml")
DEFAULT_DATA_DIR = Path(".somamesh")


def _from_option_or_settings(context: typer.Context, option: Path | None) -> Path:
    """The data directory, from the option or from the settings.

    Reading the settings takes a while, so they are read only if there is a file.
    """
    # A value from the environment may have a line end or quotes.
    text = trimmed(str(option or ""))
    if text or not (context.find_root().obj or CONFIG_FILE.is_file()):
        return Path(text) if text else DEFAULT_DATA_DIR
    from services.mesh.settings import Settings

    return Settings().data_dir


DataDirOption = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="SOMA_DATA_DIR",
        callback=_from_option_or_settings,
        help="Directory in which the stack keeps everything (.somamesh).",
    ),
]

UrlOption = Annotated[str | None, typer.Option("--url", help="URL of a stack elsewhere, such as http://host:8080.")]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", envvar="SOMA_API_KEY", help="API key. For a stack on this machine, its own key if not given."
    ),
]


def refuse_before_subcommand(context: typer.Context, *options: str) -> None:
    """Refuse options before the name of a subcommand, because the subcommand would not get them.

    Raises:
        BadParameter: there is such an option; the error names it.
    """
    for option in options:
        source = context.get_parameter_source(option)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(
                f"put it after {context.invoked_subcommand}", param_hint=f"--{option.replace('_', '-')}"
            )


def directory(option: Path | None) -> "DataDir":
    """The data directory of a command with a `DataDirOption`."""
    from cli.data_dir import DataDir

    return DataDir.at(option or DEFAULT_DATA_DIR)


def names(value: str) -> tuple[str, ...]:
    """The names in a comma-separated list."""
    return tuple(name.strip() for name in value.split(",") if name.strip())
