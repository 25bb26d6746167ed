"""Receive messages from Redis during one connection, or one for each node of a cluster."""

from collections.abc import Iterable
from typing import Protocol


class Listener(Protocol):
    """Opened once and closed once; in between `read` and `write` run until one of them fails.

    A loss of any kind is an error of `read` or `write`, never a silence that lasts.
    """

    async def open(self) -> None:
        """Connect."""
        ...

    async def close(self) -> None:
        """End what is connected without waiting for the other side."""
        ...

    def probe_channels(self, name: str) -> list[str]:
        """Return the channels of probes; whoever receives them all has no deaf connection.

        Args:
            name: Of the process.
        """
        ...

    def subscribe(self, channels: Iterable[str]) -> None:
        """Add channels; `subscribed` tells when their messages arrive."""
        ...

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Take channels away; who waits for one is let go on."""
        ...

    async def subscribed(self, channels: Iterable[str]) -> None:
        """Return when every message of these channels from now on will be received."""
        ...

    async def write(self) -> None:
        """Tell Redis what changes, until cancelled."""
        ...

    async def read(self) -> None:
        """Hand on what is said, until a connection ends or this is cancelled."""
        ...
