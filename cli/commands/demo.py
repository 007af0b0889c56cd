"""`soma demo`: start a stack, hold a short conversation with it, and show how to continue."""

from typing import Annotated, Any

import typer

from cli.commands.options import DataDirOption, directory


def demo(
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep running until Ctrl-C instead of stopping at the end.")
    ] = False,
    data_dir: DataDirOption = None,
    host: Annotated[str | None, typer.Option(help="Address of the public port (127.0.0.1).")] = None,
    port: Annotated[int | None, typer.Option(help="The public port (8080).", min=1, max=65535)] = None,
) -> None:
    """Start the whole stack in development mode, hold a short real conversation through its port, and stop."""
    from cli.demo import hold
    from cli.endpoint import find_endpoint
    from cli.foreground import run_in_foreground
    from cli.layout import Layout
    from cli.screen import announcement
    from services.mesh.settings import Settings

    here = directory(data_dir)
    given: dict[str, Any] = {"dev": True, "host": host, "port": port, "data_dir": here.root}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})

    async def show() -> bool:
        typer.echo(announcement(here))
        await hold(find_endpoint(here, None, None))
        if stay:
            typer.echo("\nServing until Ctrl-C.")
        return stay

    run_in_foreground(settings, here, Layout(), show)
