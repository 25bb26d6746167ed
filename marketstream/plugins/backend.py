"""How processes meet, named by the scheme of `bus.url`: one factory makes all that they share."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from marketstream.core.backlog import Backlog
from marketstream.core.query.quota import Allowance
from marketstream.engine.events.ports import Backplane, EventStore
from marketstream.engine.market.interest import Interest
from marketstream.engine.market.publication_handler import PublicationHandler
from marketstream.engine.stats import Stats
from marketstream.plugins.registry import Point
from marketstream.ports import (
    Bus,
    Claims,
    Clock,
    ConnectionLimits,
    LeaderForwarder,
    Lease,
    ProviderQuota,
    Relay,
)

Work = Callable[[], Coroutine[None, None, None]]
"""Runs until it is cancelled or done; may be run again."""


@dataclass(frozen=True, slots=True)
class BusContext:
    """What a factory of backends is given besides the URL.

    Attributes:
        clock: Time of this machine.
        stale_after: Seconds within which it is noticed that nobody feeds the market; the same everywhere.
    """

    clock: Clock
    stale_after: float = 30.0


@dataclass(frozen=True, slots=True)
class Leadership:
    """Who feeds the market.

    Attributes:
        lease: The right to.
        forwarder: Has publications judged at whoever holds it.
        works: What is to be done while it is held here.
    """

    lease: Lease
    forwarder: LeaderForwarder
    works: Sequence[Work] = ()


@dataclass(frozen=True, slots=True)
class StreamInlet:
    """A stream of entries that programs add to, each acknowledged when it was taken.

    Attributes:
        stream: Its name.
        group: In whose name it is read.
        take: Given the field of an entry and the entry's id, says what became of it. Raises `RequestError`
            for an entry that it does not take, and `BusError` when none can be taken now.
    """

    stream: str
    group: str
    take: Callable[[bytes, bytes], str | Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Inlets:
    """Ways by which programs put something in without a request to a server.

    Attributes:
        streams: Of entries.
        channels: Patterns of channels that are listened to.
        take: Takes a message of a channel.
        stats: Counters to keep.
    """

    streams: Sequence[StreamInlet]
    channels: Sequence[str]
    take: Callable[[bytes], Awaitable[bytes]]
    stats: Stats


class Gossip(Protocol):
    """Tell other processes what is watched here, and forget those that die without saying so."""

    @property
    def connection_limits(self) -> ConnectionLimits:
        """Connections of users, over all processes."""
        ...

    def attach(self, interest: Interest) -> None:
        """Name what is watched here, and where to tell what is watched elsewhere; called before `run`."""
        ...

    def listen(self, on: bool) -> None:  # noqa: FBT001  # a switch
        """Begin to follow what is watched elsewhere, or let go of it."""
        ...

    async def follow(self) -> None:
        """Listen until cancelled."""
        ...

    async def run(self) -> None:
        """Tell until cancelled, and then say goodbye."""
        ...


class Backend(Protocol):
    """All that the processes of a server share. Made before any task runs; connects in `bus.run`.

    What it holds is used until the task of `bus.run` was cancelled, which is the last to be.
    """

    @property
    def bus(self) -> Bus:
        """Carries frames."""
        ...

    @property
    def relay(self) -> Relay | None:
        """Carries python-socketio's own messages; None for a process that is alone."""
        ...

    @property
    def gossip(self) -> Gossip:
        """Tells others what is watched here."""
        ...

    @property
    def claims(self) -> Claims:
        """Decides who does a run of a job."""
        ...

    @property
    def channels(self) -> Backplane:
        """Carries events and the words of those who work on them."""
        ...

    @property
    def store(self) -> EventStore:
        """Keeps subscriptions to events."""
        ...

    def backlog(self) -> Backlog:
        """Return how much waits to be published, and what was lost."""
        ...

    def on_reconnected(self, call: Callable[[], None]) -> None:
        """Name one more who is called whenever processes hear of each other again."""
        ...

    def lead(self, handler: PublicationHandler, resumed: Callable[[], None]) -> Leadership:
        """Make the lease, and what goes by it.

        Args:
            handler: Judges publications.
            resumed: To be called when others had given this process up as the one that feeds, and it goes on.
        """
        ...

    def quota(self, allowances: Mapping[str, Allowance], reserve: float) -> ProviderQuota:
        """Count what is asked of providers, for all processes together.

        Args:
            allowances: What each provider allows; any other allows everything.
            reserve: Part of each that is kept for what is known to exist.
        """
        ...

    def inlets(self, inlets: Inlets) -> Sequence[Work]:
        """Return what brings in what programs put into the middle, where they can; one process runs it."""
        ...


BackendFactory = Callable[[str, BusContext], Backend]
"""Makes a backend of a URL and connects to nothing; raises `ConfigurationError` for one it cannot read."""

BUS: Point[BackendFactory] = Point("bus")
