"""The `soma` command. Each command imports what it needs when it runs, so that short commands start fast."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cli.commands.backup import backup
from cli.commands.call import call
from cli.commands.certs import certs
from cli.commands.chat import chat
from cli.commands.config import config
from cli.commands.demo import demo
from cli.commands.doctor import doctor
from cli.commands.down import down
from cli.commands.events import events
from cli.commands.keys import keys
from cli.commands.login import login, logout
from cli.commands.logs import logs
from cli.commands.models import models
from cli.commands.restart import restart
from cli.commands.restore import restore
from cli.commands.serve import serve
from cli.commands.status import status
from cli.commands.tenants import tenants
from cli.commands.triton import triton
from cli.commands.up import up
from services.mesh.call.errors import MeshError


class Commands(TyperGroup):
    """Prints an error in one line and exits with 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except MeshError as error:
            typer.echo(f"soma: {error.message}", err=True)
            raise typer.Exit(1) from error


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def root(
    context: typer.Context,
    config_file: Annotated[Path | None, typer.Option(envvar="SOMA_CONFIG", hidden=True)] = None,
) -> None:
    """Run SomaMesh."""
    context.obj = config_file


for command in (
    up,
    down,
    restart,
    status,
    chat,
    call,
    logs,
    demo,
    serve,
    config,
    doctor,
    backup,
    restore,
    login,
    logout,
):
    app.command()(command)
app.add_typer(certs, name="certs")
app.add_typer(events, name="events")
app.add_typer(triton, name="triton")
app.add_typer(models, name="models")
app.add_typer(keys, name="keys")
app.add_typer(tenants, name="tenants")


if __name__ == "__main__":
    app()
