"""Define the protocols that event streams expect of adapters."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from marketstream.core.events.event import User
from marketstream.ports import Relay
from marketstream.wire.events.between_processes import Message


class EventStore(Protocol):
    """What users want to hear of; the same for every process.

    A change that was acknowledged is what every later `load` finds, at any process.
    """

    async def load(self, users: Sequence[User]) -> list[dict[str, bytes]]:
        """Return the subscriptions of each user: encoded filters by name.

        Raises:
            BusError: They cannot be read now.
        """
        ...

    async def put(self, user: User, name: str, body: bytes, limit: int) -> bool:
        """Keep an encoded filter under a name, in place of one of that name.

        Args:
            user: Whose it is.
            name: The name.
            body: The filter.
            limit: Names that a user may hold.

        Returns:
            False when there was no room for another name, and nothing was written.

        Raises:
            BusError: It cannot be written now, or may not have been.
        """
        ...

    async def remove(self, user: User, name: str) -> bool:
        """Let a filter go, and say whether there was one; raise as `put`."""
        ...


class EventChannel(Protocol):
    """Carries events to every process, each id of a tenant once in five minutes, and never twice to one.

    What one process has sent arrives in order, except where there are several channels, as in a cluster.
    """

    async def send(self, messages: Sequence[Message]) -> list[bool]:
        """Send events to every process, this one too, except those that were sent before.

        Returns:
            Of each whether it was sent now.

        Raises:
            BusError: Any of them may have been sent, or not; sending all of them again does no harm.
        """
        ...

    def listen(self, receive: Callable[[Message], None]) -> None:
        """Name the one receiver in this process."""
        ...


Dead = Callable[[Sequence[str]], Awaitable[Sequence[str]]]
"""Says which of some processes are dead; may raise `BusError`."""


async def nobody(_nodes: Sequence[str]) -> Sequence[str]:
    """Of processes there is only this one."""
    return ()


@dataclass(frozen=True, slots=True)
class Backplane:
    """How the event streams of many processes meet, or those of one that is alone.

    Attributes:
        events: Carries events to every process.
        reports: Carries words of workers to whoever hands out work.
        orders: Carries the words of whoever hands out work.
        news: Carries the word that a user's subscriptions changed; None for a process that is alone.
        name: Of this process.
        dead: Knows which processes are no more.
    """

    events: EventChannel
    reports: Relay
    orders: Relay
    news: Relay | None = None
    name: str = "alone"
    dead: Dead = nobody
