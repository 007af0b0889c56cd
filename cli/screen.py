"""The output of `soma up`: the parts while they start, then the running parts, or why the start failed."""

import shlex
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

import typer

from cli.data_dir import DataDir
from cli.report import report, table
from cli.state import StackState
from cli.status import State
from services.mesh.call.credential import trimmed

if TYPE_CHECKING:
    from rich.table import Table

MARKS = {
    State.READY: "[green]●",
    State.IDLE: "[green]○",
    State.FAILED: "[red]✗",
    State.UNHEALTHY: "[yellow]●",
    State.WAITING: "[dim]○",
}


class PlainScreen:
    """Prints one line for each change of a part, for a log or a pipe."""

    def __init__(self) -> None:
        self._shown: dict[str, State] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        sys.stdout.flush()

    def show(self, stack: StackState) -> None:
        """Print the changed parts."""
        for part in stack.parts:
            if self._shown.get(part.name, State.WAITING) is not part.state:
                self._shown[part.name] = part.state
                where = f" {part.where}" if part.state in (State.READY, State.IDLE) and part.where else ""
                reason = f": {part.reason}" if part.reason else ""
                typer.echo(f"{part.name} {part.state}{where}{reason}")


class RichScreen:
    """Draws a table that changes in place while parts start, and then stays."""

    def __init__(self) -> None:

        from rich.live import Live

        self._live = Live(auto_refresh=False)
        self._announced = False

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()

    def show(self, stack: StackState) -> None:
        """Draw the parts; after the start, draw nothing more."""
        if stack.state is State.STARTING:
            self._live.update(self._table(stack), refresh=True)
            return
        self._live.stop()
        if stack.state is State.STOPPING and not self._announced:
            self._announced = True
            typer.echo("Stopping.")

    def _table(self, stack: StackState) -> "Table":
        from rich.markup import escape
        from rich.table import Table

        rows = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for part in stack.parts:
            note = part.reason or (part.where if part.state in (State.READY, State.IDLE) else "") or ""
            rows.add_row(MARKS.get(part.state, "[yellow]○"), part.name, part.state, escape(note))
        return rows


def screen() -> PlainScreen | RichScreen:
    """The screen that suits standard output: a terminal or not."""
    return RichScreen() if sys.stdout.isatty() else PlainScreen()


def announcement(directory: DataDir) -> str:
    """The table of parts, and a command line for a first call, or for a first login."""
    found = report(directory)
    if found["url"] is None:
        return f"\n{table(found)}\n"
    if found["api_key"] is None:
        return f"\n{table(found)}\n\n{_login(directory)}\n"
    ca = directory.root / "tls" / "ca.pem"
    trust = f" --cacert {ca}" if found["url"].startswith("https:") else ""
    call = f"curl{trust} -H 'authorization: Bearer {found['api_key']}' {shlex.quote(found['url'] + '/v1/models')}"
    return f"\n{table(found)}\n\n{call}\n"


def _login(directory: DataDir) -> str:
    """How to log in, with the password of the first administrator until that is changed."""
    option = "" if directory.root.name == ".somamesh" else f" --data-dir {shlex.quote(str(directory.root))}"
    command = f"soma login --username admin{option}"
    if not directory.admin_password.exists():
        return f"soma login{option}"
    password = trimmed(directory.admin_password.read_text("utf-8", "replace"))
    return f"{command}\npassword {password} (until you log in and change it)"


def explain(stack: StackState) -> str:
    """Why a stack did not start."""
    failure = stack.failure
    if failure is None:
        return "the stack was stopped before it was ready"
    log = [f"the last lines of {failure.part}:", *(f"  {line}" for line in failure.log)] if failure.log else []
    return "\n".join([failure.message, *log])
