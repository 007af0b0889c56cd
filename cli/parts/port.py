"""TCP ports of this machine: finds a free port, and the process that listens on a port."""

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from services.mesh.call.errors import FailedPrecondition
from services.mesh.transport.address import joined, resolved


def free_port(host: str = "127.0.0.1") -> int:
    """A port on which no process listens at this moment."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def holder(port: int) -> str | None:
    """The process that listens on `port`, as `name (pid N)`; None when the system does not say."""
    try:
        for connection in psutil.net_connections("tcp"):
            local = connection.laddr
            if connection.status == psutil.CONN_LISTEN and connection.pid and local and local.port == port:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
    except psutil.Error:
        return None
    return None


def require_free(host: str, port: int) -> None:
    """Check that a process can listen on `port` at a name or an address of this machine.

    Raises:
        FailedPrecondition: it cannot; the message names the process that has the port, if that is known.
        InvalidArgument: there is no such host.
    """
    _bound(host, port).close()


@contextmanager
def reserved(host: str, port: int) -> Iterator[None]:
    """Keep the system from choosing `port` as a free port or as the local port of a connection.

    On Linux, a program that asks for exactly this port still gets it. On other systems nothing is reserved.

    Raises:
        FailedPrecondition: no process can listen on it now.
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
    # Connections of a stack that has just ended remain for a minute. With this option, only a listener blocks the port.
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
    other = (
        "" if error.errno == errno.EACCES else "; give --host an address of this machine, or 0.0.0.0 for all of them"
    )
    return FailedPrecondition(
        f"cannot listen on {where}: {error.strerror}{other}", reason="PORT_REFUSED", metadata={"port": str(port)}
    )
