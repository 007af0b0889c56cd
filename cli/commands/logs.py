"""`soma logs`: the logs of the parts."""

from typing import Annotated

import typer

from cli.commands.options import DataDirOption, directory


def logs(
    part: Annotated[str | None, typer.Argument(help="One part. All parts if not given.")] = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Continue with new lines as they are written.")
    ] = False,
    lines: Annotated[int, typer.Option("-n", "--lines", help="Number of last lines.")] = 50,
    data_dir: DataDirOption = None,
) -> None:
    """Print the last lines of the parts' logs."""
    import asyncio

    from cli.log_reader import LogReader, follow_logs
    from services.mesh.call.errors import NotFound

    folder = directory(data_dir)["logs"]
    found = {path.stem: path for path in sorted(folder.glob("*.log"))}
    if part is not None and part not in found:
        known = f"there are {', '.join(found)}" if found else f"nothing has run on {folder.parent} yet"
        raise NotFound(f"there is no log of {part!r}; {known}")
    chosen = {part: found[part]} if part is not None else found
    readers = [LogReader(path, "" if part is not None else f"{name.ljust(14)} ") for name, path in chosen.items()]
    for reader in readers:
        for line in reader.last(lines):
            typer.echo(line)
    if follow:
        try:
            asyncio.run(follow_logs(readers, typer.echo))
        except KeyboardInterrupt:
            return
