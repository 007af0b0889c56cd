"""What a command asks of a running stack: a file in `run/orders`, a signal, and a file with the answer."""

import asyncio
import json
import os
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import structlog

from cli.data_dir import DataDir
from cli.state import StackState
from services.mesh.errors import FailedPrecondition, MeshError, Unavailable

log = structlog.get_logger("control")

# The control process looks for orders when it gets this.
ORDERS = signal.SIGUSR1
ORDER, ANSWER = ".order.json", ".answer.json"
POLL_SECONDS = 0.02

Restart = Callable[[Sequence[str]], Awaitable[None]]


def order_restart(directory: DataDir, stack: StackState, parts: Sequence[str]) -> None:
    """Have `parts` of a running stack restarted, all that can be replaced if none is named; returns when they are.

    Raises:
        FailedPrecondition: the stack refuses, or could not; the message says why.
        Unavailable: it ended meanwhile.
    """
    directory.orders.mkdir(mode=0o700, exist_ok=True)
    name = uuid.uuid4().hex
    order, answer = directory.orders / f"{name}{ORDER}", directory.orders / f"{name}{ANSWER}"
    _write(order, {"restart": list(parts)})
    os.kill(stack.pid, ORDERS)
    while not answer.exists():
        if not stack.alive:
            order.unlink(missing_ok=True)
            raise Unavailable("the stack ended before it had done what it was asked", reason="STACK_NOT_RUNNING")
        time.sleep(POLL_SECONDS)
    error = json.loads(answer.read_text())["error"]
    answer.unlink()
    if error is not None:
        raise FailedPrecondition(error, reason="ORDER_REFUSED")


async def obey(folder: Path, asked: asyncio.Event, restart: Restart) -> None:
    """Carry out orders as they come, one after the other, for ever."""
    while True:
        await asked.wait()
        asked.clear()
        for path in sorted(folder.glob(f"*{ORDER}")):
            parts = json.loads(path.read_text())["restart"]
            path.unlink()
            log.info("restarting", parts=parts)
            error = None
            try:
                await restart(parts)
            except (MeshError, OSError) as failure:
                error = str(failure)
                log.error("not restarted", parts=parts, error=error)
            _write(path.with_name(path.name.removesuffix(ORDER) + ANSWER), {"error": error})


def _write(path: Path, content: dict[str, object]) -> None:
    """In one step, so that nobody reads half of it."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(content))
    new.replace(path)
