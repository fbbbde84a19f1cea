"""Whose socket the other end of a connection over loopback is: the kernel lists each socket of this machine with the
uid of its maker (proc_pid_net(5), `tcp`)."""

from __future__ import annotations

import ipaddress
import socket
import sys
from pathlib import Path

TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))

NOBODY_KNOWN = -1
"""The other end is on this machine, and its socket has gone already."""


def uid_of_peer(connection: socket.socket) -> int | None:
    """None where the other end is on another machine, which only a proxy or the network can vouch for."""
    address, port = connection.getpeername()[:2]
    if not _is_of_this_machine(address, connection):
        return None
    far, near = (address, port), connection.getsockname()[:2]
    for table in TABLES:
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[1] in _written(far) and fields[2] in _written(near) and fields[9] != "0":
                return int(fields[7])
    return NOBODY_KNOWN


def _is_of_this_machine(address: str, connection: socket.socket) -> bool:
    return ipaddress.ip_address(address).is_loopback or address == connection.getsockname()[0]


def _written(end: tuple[str, int]) -> set[str]:
    """As the tables have an address: in words of four bytes, each in the machine's order."""
    address = ipaddress.ip_address(end[0])
    forms = [address.packed]
    if isinstance(address, ipaddress.IPv4Address):
        forms.append(b"\0" * 10 + b"\xff\xff" + address.packed)
    return {f"{_words(packed)}:{end[1]:04X}" for packed in forms}


def _words(packed: bytes) -> str:
    words = [packed[at : at + 4] for at in range(0, len(packed), 4)]
    return "".join(int.from_bytes(word, sys.byteorder).to_bytes(4, "big").hex().upper() for word in words)
