"""Starts a stack in a process of its own, and waits until it is ready."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence

import typer

from cli.data_dir import DataDir
from cli.layout import Layout
from cli.parts.log import PartLog
from cli.screen import announcement, explain, screen
from cli.state import StackState
from cli.status import State
from services.mesh.call.errors import Unavailable
from services.mesh.settings import Settings

POLL_SECONDS = 0.03


def arguments(settings: Settings, directory: DataDir, layout: Layout) -> Sequence[str]:
    """The command line that runs the same stack in the foreground."""
    command = [sys.executable, "-P", "-m", "cli.main", "up", "--quiet", "--data-dir", str(directory.root)]
    command += ["--host", settings.host, "--port", str(settings.port)]
    command += [option for option, wanted in (("--dev", settings.dev), ("--tls", settings.tls)) if wanted]
    for option, path in (("--tls-cert", settings.tls_cert), ("--tls-key", settings.tls_key)):
        command += [option, str(path.absolute())] if path is not None else []
    command += ["--apart", ",".join(layout.apart), "--without", ",".join(layout.without)]
    command += ["--triton"] if layout.triton else []
    return [*command, "--parts", ",".join(layout.parts), "--workers", str(layout.workers)]


def start_detached(settings: Settings, directory: DataDir, layout: Layout) -> None:
    """Start the stack, and return when every part is ready.

    Raises:
        Unavailable: the stack did not start; the message has the last log lines of the failed part.
    """
    directory.prepare()
    log = PartLog(directory.log("control"))
    log.rotate()
    begin = log.path.stat().st_size if log.path.exists() else 0
    output = log.open()
    try:
        control = subprocess.Popen(
            arguments(settings, directory, layout),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    finally:
        os.close(output)
    with screen() as shown:
        while True:
            ended = control.poll() is not None
            stack = StackState.read(directory.state)
            ours = stack if stack is not None and stack.pid == control.pid else None
            if ours is not None:
                shown.show(ours)
                if ours.state is State.READY:
                    break
            if ended:
                if ours is not None and ours.failure is not None:
                    raise Unavailable(explain(ours), reason="STACK_FAILED")
                with log.path.open(encoding="utf-8", errors="replace") as file:
                    file.seek(begin)
                    text = file.read().strip().removeprefix("soma: ")
                    raise Unavailable(text or "the stack ended at once", reason="STACK_FAILED")
            time.sleep(POLL_SECONDS)
    typer.echo(announcement(directory))
