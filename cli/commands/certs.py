"""`soma certs`: the certificates by which the processes of a stack authenticate each other."""

from pathlib import Path
from typing import Annotated

import typer

from cli.commands.options import DataDirOption, directory, names, refuse_before_subcommand

certs = typer.Typer(help="Show the certificates of a stack, issue them, and replace them while it runs.")


@certs.callback(invoke_without_command=True)
def show(context: typer.Context, data_dir: DataDirOption = None) -> None:
    """List the certificates, and make the development CA if there is none."""
    if context.invoked_subcommand is not None:
        refuse_before_subcommand(context, "data_dir")
        return
    from cli.certificates import certificate_table
    from services.mesh.transport.tls.authority import Authority

    here = directory(data_dir)
    here.prepare()
    Authority.at(here.root)
    typer.echo(certificate_table(here.root))


@certs.command()
def issue(
    name: Annotated[str, typer.Argument(help="Name of a process on another machine, such as serve-memory.")],
    services: Annotated[str, typer.Option(help="Services of that process, separated by commas.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the two files. Copy them into the tls folder of its data directory.")
    ] = None,
    data_dir: DataDirOption = None,
) -> None:
    """Issue the certificate of a process that you start yourself."""
    from services.mesh.call.errors import InvalidArgument
    from services.mesh.call.process_name import host_of, processes
    from services.mesh.transport.tls.authority import Authority
    from services.mesh.transport.tls.identity import CA, folder_of

    here = directory(data_dir)
    here.prepare()
    folder = folder_of(here.root)
    if not processes(name) or not names(services):
        raise InvalidArgument("the name of a serve process begins with serve-, and --services names its services")
    authority, target = Authority.at(here.root), out or folder
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    issued = authority.issue(name, [host_of(service) for service in names(services)], folder=target)
    if target != folder:
        (target / CA).write_bytes((folder / CA).read_bytes())
    typer.echo(f"{issued} and {target / CA}; start the process with SOMA_NAME={name} SOMA_MTLS=on")


@certs.command()
def rotate(
    ca: Annotated[
        bool, typer.Option("--ca", help="Use a new CA. The old one is trusted too until you retire it.")
    ] = False,
    trust_only: Annotated[
        bool,
        typer.Option(
            "--trust-only", help="With --ca: only trust the new CA, so that you can copy ca.pem to other machines."
        ),
    ] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Issue new certificates. Running processes start to use them, and no call fails."""
    from cli.certificates import FRONT, certificate_table, wait_until_trusted
    from services.mesh.call.errors import InvalidArgument
    from services.mesh.transport.tls.authority import Authority
    from services.mesh.transport.tls.identity import folder_of
    from services.mesh.transport.tls.succession import issued, succeed, trust_next

    here = directory(data_dir)
    here.prepare()
    if trust_only and not ca:
        raise InvalidArgument("--trust-only needs --ca")
    if ca:
        trust_next(here.root)
        if not trust_only:
            wait_until_trusted(here)
            # The public port keeps its certificate, because its clients may not have the new CA yet.
            succeed(here.root, spared=[FRONT])
    else:
        authority = Authority.at(here.root)
        for path in issued(folder_of(here.root)):
            authority.renew(path)
    typer.echo(certificate_table(here.root))


@certs.command()
def retire(data_dir: DataDirOption = None) -> None:
    """Stop trusting the old CA. Do this when every machine and client has the new one."""
    from cli.certificates import FRONT, certificate_table
    from services.mesh.transport.tls.succession import retire as retire_old

    here = directory(data_dir)
    here.prepare()
    retire_old(here.root, spared=[FRONT])
    typer.echo(certificate_table(here.root))
