"""Ports: free ones, taken ones, and who has them."""

import os
import socket

import pytest

from cli.parts.port import free_port, require_free
from services.mesh.errors import FailedPrecondition


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


def test_an_address_that_is_not_ours_is_refused() -> None:
    with pytest.raises(FailedPrecondition) as refused:
        require_free("192.0.2.1", 8080)
    assert refused.value.reason == "PORT_REFUSED"
