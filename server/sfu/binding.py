"""Where media sockets are opened, and which addresses the other side is told: IPv4, IPv6 or both.

Settings become this; :mod:`server.sfu.port` opens the sockets, :mod:`server.sfu.seam` writes
the candidates.
"""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass

from aioice.ice import get_host_addresses

ALL_IPV4, ALL = "0.0.0.0", "::"  # noqa: S104 - what an operator asks for


@dataclass(frozen=True, slots=True)
class Binding:
    """What an operator has set.

    ``address`` is a local address, or several; ``0.0.0.0`` is every IPv4 address of the machine and
    ``::`` every address at all, loopback left out. ``announced`` replaces them in the candidates (a
    1:1 NAT in front of us): each one those of its own family. The ports of the range are tried at
    random; 0 to 0 leaves the choice to the kernel.
    """

    address: str | tuple[str, ...] = "127.0.0.1"
    announced: str | tuple[str, ...] | None = None
    port_min: int = 0
    port_max: int = 0

    def addresses(self) -> list[str]:
        """The local addresses to open sockets on."""
        found: list[str] = []
        for address in _several(self.address):
            if address in (ALL_IPV4, ALL):
                found += get_host_addresses(use_ipv4=True, use_ipv6=address == ALL)
            else:
                found.append(address)
        return list(dict.fromkeys(found))

    def announced_for(self, address: str) -> str:
        """What the other side is told instead of this local address."""
        return next((one for one in _several(self.announced) if _kin(one, address)), address)

    def ports(self) -> list[int]:
        """Every port worth trying, in the order to try them."""
        if self.port_min == 0:
            return [0]
        ports = list(range(self.port_min, self.port_max + 1))
        random.shuffle(ports)
        return ports


def _kin(one: str, other: str) -> bool:
    return ipaddress.ip_address(one).version == ipaddress.ip_address(other).version


def _several(value: str | tuple[str, ...] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value
