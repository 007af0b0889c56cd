"""`soma certs`: the certificates with which the processes of a stack prove to each other who they are."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import DataDirOption, directory, names


def certs(
    name: Annotated[
        str | None, typer.Argument(help="Of a process on another machine, such as serve-memory; needs --services.")
    ] = None,
    services: Annotated[str, typer.Option(help="What that process serves, comma-separated.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for its two files, to be copied into its data/tls.")] = None,
    renew: Annotated[bool, typer.Option("--renew", help="Issue every certificate anew; no process restarts.")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Make the development CA and certificates, renew them, or list what there is."""
    from cli.certificates import expires
    from cli.table import aligned
    from services.mesh.errors import InvalidArgument
    from services.mesh.tls.authority import Authority
    from services.mesh.tls.identity import CA, folder_of
    from services.mesh.tls.names import host_of, processes

    here = directory(data_dir)
    here.prepare()
    authority = Authority.at(here.root)
    folder = folder_of(here.root)
    if name is not None:
        if not processes(name) or not names(services):
            raise InvalidArgument("a process that serves is called serve-…, and --services says what it serves")
        target = out or folder
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        issued = authority.issue(name, [host_of(service) for service in names(services)], folder=target)
        if target != folder:
            (target / CA).write_bytes((folder / CA).read_bytes())
        typer.echo(f"{issued} and {target / CA}; the process is started with SOMA_NAME={name} SOMA_MTLS=on")
        return
    if renew:
        for path in sorted(folder.glob("*.pem")):
            if path.name != CA:
                authority.renew(path)
    rows = [("certificate", "until")]
    for path in sorted(folder.glob("*.pem")):
        end = expires(path)
        rows.append((path.stem, f"{end:%Y-%m-%d %H:%M} UTC" if end is not None else "cannot be read"))
    typer.echo("\n".join(aligned(rows)))
