"""Hosts and ports as they are written, and the address of a host."""

import socket

import pytest

from services.mesh.call.errors import InvalidArgument
from services.mesh.transport.address import joined, listenable, literal, reached, resolved, split

LOCAL = "here.test"


@pytest.mark.parametrize(
    ("host", "port", "written"),
    [("127.0.0.1", 80, "127.0.0.1:80"), ("::1", 80, "[::1]:80"), ("control.mesh", 7000, "control.mesh:7000")],
)
def test_a_written_address_is_read_as_it_was(host: str, port: int, written: str) -> None:
    assert joined(host, port) == written
    assert split(written) == (host, port)


@pytest.mark.parametrize(
    "address",
    [
        "::1:80",
        "[::1]",
        "here",
        "here:",
        "here:0",
        "here:65536",
        ":80",
        "http://here:80",
        "[here]:80",
        "a b:80",
        "a@b:80",
    ],
)
def test_an_invalid_host_or_port_is_refused_with_its_text(address: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        split(address)


@pytest.mark.parametrize(
    ("given", "usual"),
    [("[::1]", "::1"), ("0:0:0:0:0:0:0:1", "::1"), ("::FFFF:127.0.0.1", "127.0.0.1"), (" 127.0.0.1\n", "127.0.0.1")],
)
def test_an_address_has_one_form(given: str, usual: str) -> None:
    assert literal(given) == listenable(given) == usual


@pytest.mark.parametrize(
    "host", ["", " ", "a b", "a\0b", "here:80", "http://here", "[here]", "-x", "::1::", "fe80::1%lo", "[fe80::1%25lo]"]
)
def test_an_address_that_cannot_be_listened_on_is_refused_with_its_name(host: str) -> None:
    with pytest.raises(ValueError) as refused:
        listenable(host)
    assert repr(host) in str(refused.value) or repr(host.strip("[]")) in str(refused.value)
    with pytest.raises(InvalidArgument) as unknown:
        resolved(host)
    assert unknown.value.reason == "HOST_UNKNOWN"


def test_an_unknown_host_name_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidArgument, match=r"'nosuch\.invalid'.*--host") as unknown:
        resolved("nosuch.invalid")
    assert unknown.value.reason == "HOST_UNKNOWN"


def test_every_address_of_the_machine_is_reached_at_its_loopback() -> None:
    assert [reached(address) for address in ("0.0.0.0", "::", "10.0.0.7")] == ["127.0.0.1", "::1", "10.0.0.7"]


def named(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Give `LOCAL` these addresses, in this order."""

    def answer(*_: object, **__: object) -> list[tuple[object, ...]]:
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [(family, 1, 6, "", (address, 0)) for family, address in zip(families, addresses, strict=True)]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize(
    ("addresses", "chosen"),
    [
        (("::1", "127.0.0.1"), "127.0.0.1"),
        (("198.51.100.1", "127.0.0.1"), "127.0.0.1"),
        (("198.51.100.1", "::1"), "::1"),
    ],
)
def test_of_several_addresses_the_first_of_this_machine_is_taken(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...], chosen: str
) -> None:
    named(monkeypatch, *addresses)
    assert resolved(LOCAL) == chosen


def test_a_name_of_another_machine_is_refused_with_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    named(monkeypatch, "198.51.100.1", "2001:db8::1")
    with pytest.raises(InvalidArgument, match=f"{LOCAL}.*198.51.100.1, 2001:db8::1"):
        resolved(LOCAL)
