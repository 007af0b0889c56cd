"""`soma up`: start a stack, in the foreground or in the background."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli.commands.options import DataDirOption, directory, names


def up(
    dev: Annotated[
        bool,
        typer.Option(
            "--dev",
            help="Development stack: a key in the data directory needs no login.",
        ),
    ] = False,
    data_dir: DataDirOption = None,
    host: Annotated[
        str | None, typer.Option(help="Address of the public port, or a name of this machine (127.0.0.1).")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The public port (8080).", min=1, max=65535)] = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Return when everything is ready, and leave it running.")
    ] = False,
    apart: Annotated[
        str, typer.Option(help="Services with a process of their own, or with several: memory,model=2.")
    ] = "",
    workers: Annotated[
        int, typer.Option(help="Number of identical processes that run all services not named by --apart.", min=1)
    ] = 1,
    tls: Annotated[bool, typer.Option("--tls", help="TLS on the public port, with the stack's own CA.")] = False,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate chain (PEM) for the public port, instead of the CA's.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key of that certificate (PEM).")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Do not print the key and the addresses.")] = False,
    without: Annotated[str, typer.Option(help="Services that do not run here, separated by commas.")] = "",
    triton: Annotated[
        bool, typer.Option("--triton", help="Run models on NVIDIA Triton, started here or at SOMA_TRITON_URL.")
    ] = False,
    parts: Annotated[
        str, typer.Option(help="Parts to start although no service here needs them, for services that join: postgres.")
    ] = "",
) -> None:
    """Start the whole stack: Envoy, the services, and what they need, such as Postgres and Redis."""
    from cli.effective_settings import require_known_tables
    from cli.layout import Layout
    from services.mesh.settings import Settings

    require_known_tables()
    here = directory(data_dir)
    given: dict[str, Any] = {"dev": dev or None, "host": host, "port": port, "data_dir": here.root}
    given |= {"tls": tls or tls_cert is not None or None, "tls_cert": tls_cert, "tls_key": tls_key}
    settings = Settings(**{name: value for name, value in given.items() if value is not None})
    layout = Layout(names(apart), names(without), workers, names(parts), triton)
    if detach:
        from cli.detached import start_detached

        start_detached(settings, here, layout)
    else:
        from cli.foreground import run_in_foreground
        from cli.screen import announcement

        async def announce() -> bool:
            if not quiet:
                typer.echo(announcement(here))
            return True

        run_in_foreground(settings, here, layout, announce)
