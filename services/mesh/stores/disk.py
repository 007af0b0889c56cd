"""Whether the disk of the stack's own stores is full, which explains why one of them has stopped.

A store that stops because its disk is full says so only in its log; its callers cannot reach it any more.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

# The room that a store needs to start again: Postgres writes its log of changes in files of 16 MiB.
LEAST_BYTES = 16 * 1024 * 1024

_watched: dict[str, Path] = {}


def watch(store: str, url: str, folder: Path) -> None:
    """From now on `full` checks the disk of `folder` for a store of this stack; a store on another host is ignored.

    Args:
        store: `postgres` or `redis`.
        url: of the store.
        folder: where the store keeps its data.
    """
    _watched.pop(store, None)
    if urlsplit(url).hostname == "127.0.0.1" and folder.is_dir():
        _watched[store] = folder


def full(store: str) -> bool:
    """Whether a store of this stack has less room than it needs to start; False if that is not known."""
    folder = _watched.get(store)
    if folder is None:
        return False
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < LEAST_BYTES
