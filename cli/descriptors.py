"""The limit of open files and sockets, for this process and its children."""

import resource
from contextlib import suppress

# The value when there is no hard limit. It is not unlimited, because some programs make a table of this length.
_PLENTY = 1 << 20


def raise_limit() -> None:
    """Raise the limit as far as this user may.

    Every client's connection needs a descriptor, and shells allow only 1024.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _PLENTY if hard == resource.RLIM_INFINITY else min(hard, _PLENTY)
    # A kernel with a lower limit of its own refuses, and the limit stays as it is.
    with suppress(ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
