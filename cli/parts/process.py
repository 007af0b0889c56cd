"""A child process.

It dies with this process, writes its output to a file, and is stopped by a signal, then by force.
"""

import asyncio
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from cli.parts.part import Launch

LAUNCHER = Path(__file__).with_name("launch.py")
# Variables that a program needs to start: the paths of programs and libraries, the folder for temporary files, and
# names of users if a library (nss_wrapper) provides them instead of the system.
INHERITED = re.compile(r"PATH|TMPDIR|(LD|DYLD|NSS_WRAPPER)_\w+")


class Process:
    """A running child. It leads a session of its own, so a terminal's Ctrl-C does not reach it."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.pid = child.pid

    @classmethod
    async def start(cls, launch: Launch, output: int) -> "Process":
        """Start `launch`. Both of its outputs go to the file descriptor `output`, or to a pipe for `finish`."""
        account = "-"
        if launch.account is not None:
            how = ":reach" if launch.account.reach else ":alias" if launch.account.alias else ""
            account = f"{launch.account.uid}:{launch.account.gid}{how}"
        launcher = [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(int(launch.death_signal)), account]
        child = await asyncio.create_subprocess_exec(
            *launcher,
            *launch.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            cwd=launch.cwd,
            env={**_inherited(launch.bare), **launch.env},
            start_new_session=True,
            pass_fds=launch.files,
        )
        return cls(child)

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._child.returncode is not None

    async def wait(self) -> int:
        """Wait for its end; return the exit status, negative for a signal."""
        return await self._child.wait()

    async def finish(self) -> tuple[int, str]:
        """Wait for the end of a process started with a pipe; return its exit status and its output."""
        output, _ = await self._child.communicate()
        return await self._child.wait(), output.decode(errors="replace")

    async def stop(self, stop_signal: signal.Signals, grace: float) -> int:
        """Send it `stop_signal`; after `grace` seconds, kill it and its whole process group."""
        if self._child.returncode is None:
            self._child.send_signal(stop_signal)
            try:
                async with asyncio.timeout(grace):
                    await self._child.wait()
            except TimeoutError:
                os.killpg(self.pid, signal.SIGKILL)
        return await self._child.wait()


def _inherited(bare: bool) -> Mapping[str, str]:
    ours = os.environ  # noqa: TID251 - passed on, not read
    return {name: value for name, value in ours.items() if INHERITED.fullmatch(name)} if bare else ours


def describe_exit(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        # Most real-time signals have no name.
        return f"was killed by signal {-status}"


async def run(launch: Launch) -> tuple[int, str]:
    """Run `launch` to its end, and return its exit status and its output; when cancelled, kill it."""
    process = await Process.start(launch, asyncio.subprocess.PIPE)
    try:
        return await process.finish()
    finally:
        await process.stop(signal.SIGKILL, 1.0)
