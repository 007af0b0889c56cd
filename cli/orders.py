"""Orders of a command to a running stack: a file in `run/orders`, a signal, and a file with the answer."""

import asyncio
import json
import signal
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import structlog

from cli.data_dir import DataDir
from services.mesh.call.errors import FailedPrecondition, MeshError, Unavailable
from services.mesh.process.jobs import Job

log = structlog.get_logger("control")

# The control process looks for orders when it gets this signal.
ORDERS = signal.SIGUSR1
ORDER, ANSWER = ".order.json", ".answer.json"
POLL_SECONDS = 0.02

Restart = Callable[[Sequence[str]], Awaitable[None]]


def order_restart(directory: DataDir, parts: Sequence[str]) -> None:
    """Restart parts of the running stack, and wait for it; without names, all parts that can be replaced.

    Raises:
        FailedPrecondition: the stack refused or failed; the message says why.
        Unavailable: no stack runs, or it ended in the meantime.
    """
    holder = directory.lock.holder()
    if holder is None:
        raise _ended()
    stack = directory.lock.process(holder)
    directory.orders.mkdir(mode=0o700, exist_ok=True)
    name = uuid.uuid4().hex
    order, answer = directory.orders / f"{name}{ORDER}", directory.orders / f"{name}{ANSWER}"
    _write(order, {"restart": list(parts)})
    with suppress(psutil.NoSuchProcess):
        stack.send_signal(ORDERS)
    while not answer.exists():
        if not is_alive(stack):
            order.unlink(missing_ok=True)
            raise _ended()
        time.sleep(POLL_SECONDS)
    error = json.loads(answer.read_text())["error"]
    answer.unlink()
    if error is not None:
        raise FailedPrecondition(error, reason="ORDER_REFUSED")


class Orders:
    """Carries out the orders in a folder one after the other, and answers each of them."""

    def __init__(self, folder: Path, asked: asyncio.Event, restart: Restart) -> None:
        self._folder = folder
        self._asked = asked
        self._restart = restart
        self._answers: dict[Path, str | None] = {}

    @property
    def job(self) -> Job:
        """A job that looks for orders, now and each time the event is set."""
        return Job("orders", self._carry_out_all, wake=self._asked)

    async def _carry_out_all(self) -> None:
        self._answer()
        for path in sorted(self._folder.glob(f"*{ORDER}")):
            content = path.read_bytes()
            path.unlink()
            self._answers[path.with_name(path.name.removesuffix(ORDER) + ANSWER)] = await self._carry_out(content)
            self._answer()

    async def _carry_out(self, content: bytes) -> str | None:
        """Carry out an order; return why it failed, or None."""
        try:
            parts = json.loads(content)["restart"]
            log.info("restarting", parts=parts)
            await self._restart(parts)
        except Exception as error:
            log.error("not restarted", error=str(error), exc_info=not isinstance(error, MeshError))
            return str(error) or type(error).__name__
        return None

    def _answer(self) -> None:
        for path, error in list(self._answers.items()):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(path, {"error": error})
            del self._answers[path]


def is_alive(process: psutil.Process) -> bool:
    """Whether a process is still running."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _ended() -> Unavailable:
    return Unavailable("the stack ended before it carried out the order", reason="STACK_NOT_RUNNING")


def _write(path: Path, content: dict[str, object]) -> None:
    """Write a file in one step, so that nobody reads half of it."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(content))
    new.replace(path)
