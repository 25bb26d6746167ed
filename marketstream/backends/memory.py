"""The backend of a process that is alone: everything is decided within a call. See `plugins.backend`."""

from collections.abc import Callable, Mapping, Sequence

from marketstream.bus.memory import (
    MemoryBus,
    MemoryChannel,
    MemoryClaims,
    MemoryEventChannel,
    MemoryEventStore,
    MemoryLease,
)
from marketstream.core.backlog import Backlog
from marketstream.core.query.quota import Allowance
from marketstream.engine.delivery.connection_limits import LocalConnectionLimits
from marketstream.engine.events.ports import Backplane
from marketstream.engine.market.interest import Interest
from marketstream.engine.market.publication_handler import PublicationHandler
from marketstream.plugins.backend import Backend, BackendFactory, BusContext, Gossip, Inlets, Leadership, Work
from marketstream.ports import ProviderQuota
from marketstream.providers.quota import MemoryProviderQuota


class NoGossip:
    """See `plugins.backend.Gossip`: there is nobody to tell and nobody to hear."""

    def __init__(self) -> None:
        self.connection_limits = LocalConnectionLimits()

    def attach(self, interest: Interest) -> None:
        """Keep nothing."""

    def listen(self, on: bool) -> None:  # noqa: FBT001  # a switch
        """Change nothing."""

    async def follow(self) -> None:
        """Return at once."""

    async def run(self) -> None:
        """Return at once."""


class MemoryBackend:
    """See `plugins.backend.Backend`.

    Args:
        context: Time.
    """

    relay = None

    def __init__(self, context: BusContext) -> None:
        self._clock = context.clock
        self.bus = MemoryBus(clock=context.clock)
        self.gossip = NoGossip()
        self.claims = MemoryClaims()
        self.store = MemoryEventStore()
        self.channels = Backplane(MemoryEventChannel(clock=context.clock), MemoryChannel(), MemoryChannel())

    def backlog(self) -> Backlog:
        """Return an empty one: nothing ever waits."""
        return Backlog()

    def on_reconnected(self, call: Callable[[], None]) -> None:
        """Forget it: nothing is ever lost."""

    def lead(self, handler: PublicationHandler, resumed: Callable[[], None]) -> Leadership:  # noqa: ARG002  # never given up
        """See `Backend.lead`: it is this process for ever."""
        return Leadership(MemoryLease(), handler)

    def quota(self, allowances: Mapping[str, Allowance], reserve: float) -> ProviderQuota:
        """See `Backend.quota`."""
        return MemoryProviderQuota(allowances, clock=self._clock, reserve=reserve)

    def inlets(self, inlets: Inlets) -> Sequence[Work]:  # noqa: ARG002  # nobody else can reach this memory
        """Return nothing: no other program can put anything here."""
        return []


def build(_url: str, context: BusContext) -> MemoryBackend:
    """Make the backend of `memory://`."""
    return MemoryBackend(context)


_: type[Backend] = MemoryBackend
_gossip: type[Gossip] = NoGossip
_factory: BackendFactory = build
