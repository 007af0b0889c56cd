"""TCP ports of this machine: a free one, and who holds one that is not."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from services.mesh.call.errors import FailedPrecondition
from services.mesh.transport.address import joined, resolved


def free_port(host: str = "127.0.0.1") -> int:
    """A port nobody listens on at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def holder(port: int) -> str | None:
    """The process listening on `port`, as `name (pid N)`; None when the system does not tell."""
    try:
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and connection.pid and local and local.port == port:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return None
    return None


def require_free(host: str, port: int) -> None:
    """Make sure that `port` can be listened on at a name or an address of this machine.

    Raises:
        FailedPrecondition: it cannot, and who holds it if that is known.
        InvalidArgument: there is no such host.
    """
    _bound(host, port).close()


@contextmanager
def reserved(host: str, port: int) -> Iterator[None]:
    """Keep the system from giving `port` to somebody who asks for any free one, or for a connection's other end.

    A program that asks for this very port gets it all the same, on Linux; elsewhere nothing can be reserved so.

    Raises:
        FailedPrecondition: it cannot be listened on now.
        InvalidArgument: there is no such host.
    """
    with _bound(host, port) as reservation:
        if sys.platform != "linux":
            reservation.close()
        yield


def _bound(host: str, port: int) -> socket.socket:
    address = resolved(host)
    where = joined(address, port)
    try:
        probe = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError as error:
        raise _refused(where, port, error) from error
    # Connections of a stack that just ended linger for a minute; only a listener is in the way.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind((address, port))
    except OSError as error:
        probe.close()
        if error.errno == errno.EADDRINUSE:
            by = holder(port)
            raise FailedPrecondition(
                f"port {port} on {host} is taken{f' by {by}' if by else ''}; give another with --port",
                reason="PORT_TAKEN",
                metadata={"port": str(port)},
            ) from error
        raise _refused(where, port, error) from error
    return probe


def _refused(where: str, port: int, error: OSError) -> FailedPrecondition:
    other = "" if error.errno == errno.EACCES else "; give --host an address of this machine, or 0.0.0.0 for all it has"
    return FailedPrecondition(
        f"cannot listen on {where}: {error.strerror}{other}", reason="PORT_REFUSED", metadata={"port": str(port)}
    )
