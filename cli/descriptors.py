"""How many files and sockets this process and those it starts may have open."""

import resource
from contextlib import suppress

# Where there is no limit to raise it to; some programs make a table of that length.
_PLENTY = 1 << 20


def raise_limit() -> None:
    """To what this user may have, since every connection of a client is one: shells start programs with 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _PLENTY if hard == resource.RLIM_INFINITY else min(hard, _PLENTY)
    # A kernel that has a limit of its own keeps the one there is.
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
