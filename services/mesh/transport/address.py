"""Addresses of servers: a host, which is a name or an IP address, and a port, written `host:port`; IPv6 in brackets."""

import re
import socket
from ipaddress import IPv6Address, ip_address

from soma.errors.v1 import reasons

from services.mesh.call import errors

_WRITTEN = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:/@\s]+)):(\d{1,5})")
_NAME = re.compile(r"[^\[\]:/@%\s\0]+")
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_ADDRESS = "an IP address, such as 127.0.0.1 or ::1"


def joined(host: str, port: int) -> str:
    """`host:port`, or `[host]:port` for an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(address: str) -> tuple[str, int]:
    """The host, without brackets, and the port of `host:port`.

    Raises:
        ValueError: it is not written so; an IPv6 address without brackets is not.
    """
    found = _WRITTEN.fullmatch(address)
    if found is None or not 0 < int(found[3]) < 65536:
        raise ValueError(f"{address!r} is not host:port, or [host]:port where host is an IPv6 address")
    return (literal(found[1]) if found[1] else found[2]), int(found[3])


def literal(host: str) -> str:
    """An IP address in its usual form, given with or without brackets.

    Raises:
        ValueError: it is no IP address, or is valid on one link only (`fe80::1%eth0`), which no URL can name.
    """
    given = host.strip()
    if given.startswith("[") and given.endswith("]"):
        given = given[1:-1]
    try:
        address = ip_address(given)
    except ValueError:
        raise ValueError(f"{host!r} is not {_ADDRESS}") from None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            raise ValueError(f"{host!r} has a zone, which clients cannot write into a URL: give an address without one")
        return str(address.ipv4_mapped or address)
    return str(address)


def listenable(given: str) -> str:
    """A host to listen on: a name stays as it is, an IP address gets its usual form.

    Raises:
        ValueError: it is neither a name nor an IP address.
    """
    name = given.strip()
    if _NAME.fullmatch(name) and not name.startswith("-"):
        try:
            return literal(name)
        except ValueError:
            return name
    if ":" in name and re.fullmatch(r"[\[\]0-9a-fA-F:.]+(%.*)?", name.rstrip("]")):
        return literal(name)
    raise ValueError(f"{given!r} is neither {_ADDRESS}, nor a name of this machine; a port is given apart")


def resolved(host: str) -> str:
    """The IP address to listen on for a host.

    If a name has several addresses, it is the first one that this machine has, IPv4 before IPv6.

    Raises:
        InvalidArgument: HOST_UNKNOWN, the host is neither a name nor an address, or has no address on this machine.
    """
    try:
        given = listenable(host)
    except ValueError as error:
        raise _unknown(str(error)) from error
    try:
        return literal(given)
    except ValueError:
        pass
    try:
        found = socket.getaddrinfo(given, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise _unknown(f"no address is known for the host {given!r}") from error
    addresses = [str(at[0]) for family, _, _, _, at in sorted(found, key=lambda each: each[0] != socket.AF_INET)]
    for address in addresses:
        if _ours(address):
            return literal(address)
    raise _unknown(f"the host {given!r} is {', '.join(dict.fromkeys(addresses))}, which this machine does not have")


def reached(address: str) -> str:
    """The address at which this machine reaches a server that listens on an IP address, or on all of them."""
    return _WILDCARDS.get(address, address)


def _ours(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _unknown(why: str) -> errors.InvalidArgument:
    where = "--host, SOMA_HOST, or host in soma.toml"
    return errors.InvalidArgument(f"{why}; give an address of this machine ({where})", reason=reasons.HOST_UNKNOWN)
