"""Free ports, taken ports, and the processes that have them."""

import os
import socket
import struct
import sys

import pytest

from cli.parts.port import free_port, require_free, reserved
from services.mesh.call.errors import FailedPrecondition, InvalidArgument

# From linux/in.h; Python has no name for it yet.
IP_LOCAL_PORT_RANGE = 51


def test_a_free_port_can_be_listened_on() -> None:
    port = free_port()
    require_free("127.0.0.1", port)
    with socket.create_server(("127.0.0.1", port)):
        pass


@pytest.mark.parametrize("held_on", ["127.0.0.1", "0.0.0.0"])
def test_a_taken_port_is_refused_naming_who_has_it(held_on: str) -> None:
    with socket.create_server((held_on, 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(
            FailedPrecondition, match=rf"port {port} .* taken by .*\(pid {os.getpid()}\).*--port"
        ) as taken:
            require_free("127.0.0.1", port)
    assert taken.value.reason == "PORT_TAKEN"


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(FailedPrecondition) as refused:
        require_free("192.0.2.1", 8080)
    assert refused.value.reason == "PORT_REFUSED"
    assert "--host" in refused.value.message


def test_an_ipv6_address_is_named_as_in_a_url() -> None:
    with pytest.raises(FailedPrecondition, match=r"\[2001:db8::1\]:8080"):
        require_free("2001:db8::1", 8080)


def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"nosuch\.invalid"):
        require_free("nosuch.invalid", 8080)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reserve a port so")
def test_a_reserved_port_is_given_only_to_a_program_that_asks_for_it() -> None:
    port = free_port()
    only_this_one = struct.pack("I", port | port << 16)
    with reserved("127.0.0.1", port), socket.socket() as anybody:
        try:
            anybody.setsockopt(socket.IPPROTO_IP, IP_LOCAL_PORT_RANGE, only_this_one)
        except OSError:
            pytest.skip("needs Linux 6.3, which can narrow the range that free ports are taken from")
        anybody.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            anybody.bind(("127.0.0.1", 0))
        require_free("127.0.0.1", port)
        with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
            pass
