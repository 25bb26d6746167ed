"""Bound the connections whose client is not admitted yet.

A newcomer is never turned away for the others' sake: one that has waited longest goes instead. It is one of
the newcomer's own address where that holds more than an even share of the places, so that a flood from one
address pushes out itself, and not those who come from elsewhere.
"""

from collections import OrderedDict
from ipaddress import IPv6Address, ip_address

import structlog

from marketstream.engine.delivery.connection import Connection

log = structlog.get_logger(__name__)

MAX_PAYLOAD = 16 * 1024
"""Bytes of a message of such a client: twice the longest token."""

MAX_MESSAGES = 32
"""Ordered messages that may wait for such a client."""

MAX_MESSAGE_BYTES = 16 * 1024
"""Bytes that they may have."""

MAX_WAITING = 16 * 1024
"""Bytes of its calls that may wait until it is let in."""

QUIET = 60.0
"""Seconds between two log entries about a flood."""

_Crowd = OrderedDict[Connection, None]


class Unadmitted:
    """See the module.

    Args:
        capacity: Connections that may wait to be let in.

    Attributes:
        evicted: Connections that had to go for others, since the start.
    """

    def __init__(self, capacity: int) -> None:
        self.evicted = 0
        self._capacity = capacity
        self._all: _Crowd = OrderedDict()
        self._by_network: dict[str, _Crowd] = {}
        self._quiet_until = float("-inf")
        self._flooded = False

    def __len__(self) -> int:
        return len(self._all)

    def add(self, connection: Connection) -> Connection | None:
        """Note a newcomer, last of all.

        Returns:
            The connection that must be closed to make room for it; None while there is room.
        """
        evicted = None
        if len(self._all) >= self._capacity:
            evicted = self._choose(_network(connection.address))
            self.remove(evicted)
            self.evicted += 1
            self._flooded = True
            self._tell(connection.opened_at)
        self._all[connection] = None
        self._by_network.setdefault(_network(connection.address), OrderedDict())[connection] = None
        return evicted

    def remove(self, connection: Connection) -> None:
        """Forget a connection that was let in or is gone; one that is unknown changes nothing."""
        if self._all.pop(connection, connection) is not None:
            return
        network = _network(connection.address)
        crowd = self._by_network[network]
        del crowd[connection]
        if not crowd:
            del self._by_network[network]

    def ebbed(self) -> bool:
        """Return whether a flood is over: half of the room is free again. True once after each."""
        over = self._flooded and 2 * len(self._all) <= self._capacity
        self._flooded = self._flooded and not over
        return over

    def _choose(self, network: str) -> Connection:
        own = self._by_network.get(network, ())
        greedy = len(own) * len(self._by_network) > len(self._all)
        return next(iter(own if greedy else self._all))

    def _tell(self, now: float) -> None:
        """Log a flood once a minute: whoever causes it must not fill the log as well."""
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET
            log.warning(
                "unadmitted_evicted",
                waiting=self._capacity,
                networks=len(self._by_network),
                evicted=self.evicted,
            )


def _network(address: str) -> str:
    """Return what one client can hold many addresses of: an IPv4 address, or 64 bits of an IPv6 address."""
    if ":" not in address:
        return address
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address):
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else parsed.packed[:8].hex()
