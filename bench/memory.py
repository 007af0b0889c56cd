"""The memory of a set of processes; a page that they share counts once.

PSS divides a shared page among all processes that map it, also those of other programs. If another stack with the same
libraries runs, PSS is too small. So this module counts anonymous and shared memory by PSS, because no other program
maps it, and each mapped file by the largest part that one process of the set has in memory.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

# start-end, rights, offset, device, inode, path
_MAPPING = re.compile(r"[0-9a-f]+-[0-9a-f]+ \S+ ([0-9a-f]+) \S+ \d+ +(/.*)")
_SHARED_MEMORY = ("/dev/zero", "/dev/shm/", "/memfd:", "/SYSV")


def resident_bytes(processes: Iterable[psutil.Process]) -> int:
    """The bytes in memory of the processes that still run; Linux only."""
    own = 0
    files: dict[tuple[str, str], int] = {}
    for process in processes:
        try:
            rollup = dict(_fields(Path(f"/proc/{process.pid}/smaps_rollup").read_text()))
            mapped = Path(f"/proc/{process.pid}/smaps").read_text()
        except (FileNotFoundError, ProcessLookupError):
            # Postgres and Redis have helper processes that end at any time.
            continue
        own += rollup["Pss_Anon"] + rollup["Pss_Shmem"]
        for place, size in _files(mapped):
            files[place] = max(files.get(place, 0), size)
    return (own + sum(files.values())) * 1024


def _files(smaps: str) -> Iterator[tuple[tuple[str, str], int]]:
    """Each mapping of a file, as path and offset, with the kilobytes of the file in memory."""
    place: tuple[str, str] | None = None
    resident = 0
    for line in smaps.splitlines():
        if not line[0].isupper():
            mapping = _MAPPING.match(line)
            held = mapping is not None and not mapping[2].startswith(_SHARED_MEMORY)
            place = (mapping[2], mapping[1]) if mapping is not None and held else None
        elif place is not None and line.startswith("Rss:"):
            resident = int(line.split()[1])
        elif place is not None and line.startswith("Anonymous:"):
            yield place, resident - int(line.split()[1])


def _fields(rollup: str) -> Iterator[tuple[str, int]]:
    for line in rollup.splitlines():
        name, _, value = line.partition(":")
        if value.strip().endswith("kB"):
            yield name, int(value.split()[0])
