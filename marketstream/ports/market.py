"""Define what the market expects of adapters: feeds, lease, leader forwarder."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Quote


class Lease(Protocol):
    """The right to feed the market, held by one process at a time."""

    @property
    def held(self) -> bool:
        """Whether this process holds it, as far as is known; never blocks."""
        ...

    async def hold(self, lead: Callable[[Sequence[Frame]], Awaitable[None]]) -> None:
        """Wait for the lease and lead while it lasts; again and again, until cancelled.

        `lead` is given the newest frame of every key and tenant that was published before. It is cancelled,
        and has ended, before anybody could be told that it was somebody else's by then; what is published
        from then on is not published in its name. What it publishes after another process began arrives
        nowhere.
        """
        ...


class LeaderForwarder(Protocol):
    """Where publications are judged: in this process or at the one that feeds the market."""

    async def submit(self, body: bytes) -> bytes:
        """Have a publication taken.

        Args:
            body: JSON {quotes?, prices?, tenantId?}.

        Returns:
            JSON {accepted, rejected: [{index, error}]}.

        Raises:
            InvalidMessageError: The body is not of that shape.
            UnavailableError: Nobody can take it right now.
        """
        ...


class QuoteSink(Protocol):
    """Where a feed puts what it reads."""

    def offer(self, quotes: Sequence[Quote]) -> None:
        """Take quotes in order; never block; a quote that cannot be used is counted, not raised."""
        ...

    async def ready(self) -> None:
        """Wait until what was offered has been handed on: for feeds that can wait, such as a tape."""
        ...

    async def interest(self, known: frozenset[str]) -> frozenset[str]:
        """Wait until the set of symbols that somebody watches, in any process, differs from `known`.

        A symbol that nobody watches any more stays in it for a few seconds. Many changes at once are one.

        Returns:
            That set; the next call is given it.
        """
        ...

    def alive(self) -> None:
        """Note that the source is there, though it may have nothing to say for hours; never block."""
        ...

    def rest(self, symbols: frozenset[str]) -> None:
        """Say of which symbols the feed may be silent because their market is closed; never block.

        Args:
            symbols: All of them; what was said before is replaced.
        """
        ...

    def lack(self, symbols: frozenset[str]) -> None:
        """Say which symbols somebody watches and the feed cannot have, though it should; never block."""
        ...


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """How the connection of a feed to its vendor is.

    Attributes:
        connected: Whether the vendor has let it in.
        symbols: Symbols that the vendor sends.
        left_out: Symbols that somebody watches and that did not fit into what the vendor allows.
        attempts: Connections that were tried.
        last_ms: Epoch milliseconds when the vendor's last message came; None before the first.
        skipped: Messages that made no sense and were left out.
        ahead: Those of them whose time lies too far ahead of our clock.
        offset_ms: Milliseconds by which the vendor's last time was ahead of our clock; None before the first.
    """

    connected: bool
    symbols: int
    left_out: int
    attempts: int
    last_ms: int | None
    skipped: int
    ahead: int = 0
    offset_ms: int | None = None


class Feed(Protocol):
    """A source of quotes that runs as one task.

    `run` returns when the source has nothing more to give, and raises `FeedError` when it cannot go on. After
    anything else that it raises, such as `FeedLostError`, the supervisor runs it again with backoff. It must
    end promptly when cancelled.
    """

    @property
    def name(self) -> str:
        """Short name for logs and figures, such as `synthetic`."""
        ...

    @property
    def stale_after(self) -> float | None:
        """Seconds after which a silent source of it leaves the best price; None: as the server does."""
        ...

    async def run(self, sink: QuoteSink) -> None:
        """Read the source and offer what it says until the source ends."""
        ...


@runtime_checkable
class Streaming(Protocol):
    """A feed that keeps a connection to a vendor, and can say how that is."""

    def status(self) -> StreamStatus:
        """Return how it is right now; never block."""
        ...
