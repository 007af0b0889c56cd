"""Ports that tests give to what they start, each to one test of all that run on this machine."""

import fcntl
import os
import random
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from cli.parts.port import require_free
from services.mesh.call.errors import FailedPrecondition

# Below those the system hands out by chance, so that one stays free while what listens on it is down.
FIRST, LAST = 20_000, 30_000


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no other call gives away until this process ends."""
    while True:
        port = random.randrange(FIRST, LAST)
        with suppress(FailedPrecondition, BlockingIOError, PermissionError):
            # The lock on a byte for each port goes with the process, however it ends, and no child inherits it.
            fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
            if port not in _given:
                require_free("127.0.0.1", port)
                _given.add(port)
                return port


# What this process claimed: its own lock would not refuse it the second time.
_given: set[int] = set()


@cache
def _claims() -> int:
    """The file whose bytes stand for ports; closed nowhere, because any close would give up all claims."""
    return os.open(Path(tempfile.gettempdir()) / f"soma-test-ports-{os.getuid()}", os.O_RDWR | os.O_CREAT, 0o600)
