"""Which IP addresses are in the public internet, for whoever reads addresses that others name."""

from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import TypeAlias

IpAddress: TypeAlias = IPv4Address | IPv6Address

# Networks that are not public (IANA's registries of special-purpose addresses, RFC 6890).
_PRIVATE_IPV4 = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
            # The service of Azure that gives a virtual machine its secrets.
            "168.63.129.16/32",
        ),
    )
)
# Only these IPv6 addresses are assigned to the public ...
_PUBLIC_IPV6 = ip_network("2000::/3")
# ... except for protocols, documentation, and addresses that hold an IPv4 address (6to4, Teredo).
_PRIVATE_IPV6 = tuple(map(ip_network, ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")))
# In a network without IPv4, a name leads to its IPv4 address behind this prefix (RFC 6052).
_NAT64 = ip_network("64:ff9b::/96")


def is_public(address: IpAddress) -> bool:
    """Whether an address is in the public internet. An IPv4 address inside an IPv6 address counts as itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        return address in _PUBLIC_IPV6 and not any(address in network for network in _PRIVATE_IPV6)
    return not any(address in network for network in _PRIVATE_IPV4)
