"""What listens to Redis during one stay: by one connection, or by one for each node of a cluster."""

from collections.abc import Iterable
from typing import Protocol


class Listener(Protocol):
    """Opened once and closed once; in between `read` and `write` run until one of them fails.

    A loss of any kind is an error of `read` or `write`, never a silence that lasts.
    """

    async def open(self) -> None:
        """Connects."""
        ...

    async def close(self) -> None:
        """Ends what is connected without waiting for the other side."""
        ...

    def probe_channels(self, name: str) -> list[str]:
        """Channels for words to oneself; who hears them all has no connection that is deaf.

        Args:
            name: Of the process.
        """
        ...

    def subscribe(self, channels: Iterable[str]) -> None:
        """Adds channels; `hears` says when they are heard."""
        ...

    def unsubscribe(self, channels: Iterable[str]) -> None:
        """Takes channels away; who waits for one is let go on."""
        ...

    async def subscribed(self, channels: Iterable[str]) -> None:
        """Returns when every message of these channels from now on will be heard."""
        ...

    async def write(self) -> None:
        """Tells Redis what changes, until cancelled."""
        ...

    async def read(self) -> None:
        """Hands on what is said, until a connection ends or this is cancelled."""
        ...
