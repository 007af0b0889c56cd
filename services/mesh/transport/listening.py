"""Opens a socket that listens, or raises a typed error that says why it cannot."""

import socket

from soma.errors.v1 import reasons

from services.mesh.call import errors

BACKLOG = 4096


def listen(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 chooses a free one.

    Raises:
        Unavailable: the address is taken, or this machine does not have it.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise errors.Unavailable(f"cannot listen on {host}:{port}: {error}", reason=reasons.ADDRESS_IN_USE) from error
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener
