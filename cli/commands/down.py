"""`soma down`: stop a stack."""

import typer

from cli.commands.options import DEFAULT_DATA_DIR, DataDirOption


def down(data_dir: DataDirOption = DEFAULT_DATA_DIR, timeout: float = 60.0) -> None:
    """Stop the stack and wait until every part has ended."""
    import psutil

    from cli.data_dir import DataDir
    from cli.state import running
    from services.mesh.errors import DeadlineExceeded

    directory = DataDir.at(data_dir)
    stack = running(directory.state)
    if stack is None:
        typer.echo(f"No stack runs on {directory.root}.")
        return
    control = psutil.Process(stack.pid)
    control.terminate()
    try:
        control.wait(timeout)
    except psutil.TimeoutExpired as error:
        raise DeadlineExceeded(f"the stack (pid {stack.pid}) still runs after {timeout:g} s; soma logs says why") from error
    typer.echo(f"Stopped {stack.url}.")
