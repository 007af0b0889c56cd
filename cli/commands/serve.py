"""`soma serve`: run services in this process, and let it join a stack."""

from typing import Annotated

import typer

from cli.commands.options import DataDirOption, directory


def serve(
    services: Annotated[list[str], typer.Argument(help="The services to run, such as memory.")],
    join: Annotated[
        str | None,
        typer.Option(help="host:port of the stack's registry. If not given, that of the stack in the data directory."),
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Run services in this process until it is stopped. Use it for services that soma up left out with --without."""
    import uvloop

    from cli.descriptors import raise_limit
    from cli.effective_settings import require_known_tables
    from cli.joining import settings_to_join
    from services.host import run_process

    require_known_tables()
    raise_limit()
    uvloop.run(run_process(settings_to_join(directory(data_dir), join), services))
