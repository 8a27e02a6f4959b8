"""Tells whether a name or an address is this machine's own."""

from ipaddress import IPv6Address, ip_address


def is_loopback(name: str) -> bool:
    """Whether a name or an address is loopback, which no other machine can connect to."""
    if name == "localhost":
        return True
    try:
        address = ip_address(name)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback
