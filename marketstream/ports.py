"""What the engine asks of the outside: small protocols that state guarantees.

An implementation ends with `_: type[Port] = Implementation`, so that the type checker holds it to the
signature, and passes the contract suite of its port in `tests/contract`, which holds it to the rest.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from marketstream.core.delivery.entitlements import Principal
from marketstream.core.delivery.frame import Frame
from marketstream.core.market.model import Quote
from marketstream.core.query.model import Article, History, Match, Profile, ProviderQuote
from marketstream.core.query.quota import SERVER, Asker


class Clock(Protocol):
    """Time, injected so that tests own it."""

    def now(self) -> float:
        """Monotonic seconds; never goes back; the zero is arbitrary."""
        ...

    def wall_ms(self) -> int:
        """Epoch milliseconds; may be corrected by the machine at any time."""
        ...


class Bus(Protocol):
    """Carries frames to every process and remembers the last one of each symbol and tenant.

    Frames of one symbol arrive everywhere in the order of their cursors, at most once, and those of one
    `publish` call together, as far as they travel on one road: a bus may divide the market between several.
    The last value is stored in the same step as it is published. A process hears of what it watches; of
    other symbols it may hear nothing. While frames cannot travel the bus itself says, by `status` frames,
    what is in doubt; of what waits to be published it keeps at least the newest of each key.
    """

    @property
    def connected(self) -> bool:
        """Whether frames can travel right now; never blocks."""
        ...

    @property
    def clock(self) -> Clock:
        """Time as cursors tell it: one for all processes, whatever the clock of this machine says."""
        ...

    @property
    def skew(self) -> int:
        """Microseconds by which cursors of two symbols may belie the order of their publishing; 0: never."""
        ...

    def publish(self, frames: Sequence[Frame]) -> None:
        """Sends frames on their way, to be stamped with a cursor; never blocks, never raises for a peer."""
        ...

    def attach(self, receive: Callable[[Sequence[Frame]], None]) -> None:
        """Names the one receiver in this process; called before anything is published."""
        ...

    def watch(self, name: str) -> None:
        """Asks to hear of a symbol or channel; counted, so each call needs an `unwatch`."""
        ...

    def unwatch(self, name: str) -> None:
        """Takes one `watch` back."""
        ...

    def last(self, wanted: Sequence[str], tenant: str) -> Sequence[Frame] | Awaitable[Sequence[Frame]]:
        """The newest frame a tenant may see of each key that has one, in the order asked for.

        A key is a symbol, or the key of any other frame that was published. The answer is at hand, or must
        be awaited. Awaited directly, nothing is received between the answer and the next step of the caller;
        of what is watched it is never older than what was received. What cannot be known is left out.
        """
        ...

    async def run(self) -> None:
        """Does what must be done in the background, until cancelled or done with it."""
        ...


class Relay(Protocol):
    """Carries python-socketio's own messages between processes; each arrives at most once, in order."""

    def send(self, message: bytes) -> None:
        """Sends a message to every process, this one too; never blocks."""
        ...

    def listen(self, receive: Callable[[bytes], None]) -> None:
        """Names the one receiver in this process."""
        ...


class ProviderQuota(Protocol):
    """How often each provider may be asked, in a minute and on a day of UTC; who shares it shares the count.

    It never raises for a peer: one that cannot be reached is stood in for by what this process asked itself.
    """

    async def take(self, provider: str, asker: Asker = SERVER) -> float:
        """Counts one question to a provider, if it may be asked.

        Args:
            provider: Whom.
            asker: Who asks, whose share it counts against too.

        Returns:
            0.0 when it may, else the seconds until one will, and nothing was counted.

        Raises:
            ProviderShareError: The provider may be asked, but not by this one; nothing was counted.
        """
        ...

    async def spend(self, provider: str, seconds: float) -> None:
        """Notes that the provider itself wants no question for so long; never shortens what is noted."""
        ...


class Claims(Protocol):
    """Decides which process does a run of a job, so that one does it."""

    async def take(self, job: str, due_ms: int, ttl: float) -> bool:
        """Claims a run for this process.

        Args:
            job: Name of the job.
            due_ms: When the run is due, epoch milliseconds.
            ttl: Seconds for which nobody else can claim it.

        Returns:
            Whether it is this process's, also when that was asked before.

        Raises:
            BusError: Nobody can say; asking again does no harm.
        """
        ...


class Lease(Protocol):
    """The right to feed the market, held by one process at a time."""

    @property
    def held(self) -> bool:
        """Whether this process holds it, as far as is known; never blocks."""
        ...

    async def hold(self, duty: Callable[[Sequence[Frame]], Awaitable[None]]) -> None:
        """Waits for the lease and does the duty while it lasts; again and again, until cancelled.

        The duty is given the newest frame of every key and tenant that was published before. It is cancelled,
        and has ended, before anybody could be told that it was somebody else's by then; what is published
        from then on is not published in its name. What it publishes after another process began arrives
        nowhere.
        """
        ...


class LeaderForwarder(Protocol):
    """Where publications are judged: in this process or at the one that feeds the market."""

    async def submit(self, body: bytes) -> bytes:
        """Has a publication taken.

        Args:
            body: JSON {quotes?, prices?, tenantId?}.

        Returns:
            JSON {accepted, rejected: [{index, error}]}.

        Raises:
            InvalidMessageError: The body is not of that shape.
            UnavailableError: Nobody can take it right now.
        """
        ...


class Verifier(Protocol):
    """Turns a token into a principal."""

    def verify(self, token: str) -> Principal | Awaitable[Principal]:
        """Checks signature, algorithm, time and claims.

        Returns at once when the keys are at hand, and an awaitable when they must be fetched.

        Raises:
            TokenExpiredError: The token was good and is over.
            AuthFailedError: Anything else is wrong with it.
        """
        ...


class ConnectionLimits(Protocol):
    """How many connections each user has, in all processes that are alive, and who may have one more."""

    def acquire(self, tenant: str, user: str, limit: int) -> Awaitable[None] | None:
        """Takes a place for one more connection of a user.

        A place is held from the first moment until it is given back; one whose waiting is cancelled is not.

        Args:
            tenant: The tenant.
            user: The user.
            limit: Places of the user, at least 1.

        Returns:
            None when it is taken; an awaitable when others must be asked, which must be awaited.

        Raises:
            ConnectionLimitError: All are taken; raised at once or when awaited. Nothing is held then.
        """
        ...

    def release(self, tenant: str, user: str) -> None:
        """Gives a place back; never blocks."""
        ...


class QuoteSink(Protocol):
    """Where a feed puts what it reads."""

    def offer(self, quotes: Sequence[Quote]) -> None:
        """Takes quotes in order; never blocks; a quote that cannot be used is counted, not raised."""
        ...

    async def ready(self) -> None:
        """Waits until what was offered has been handed on: for feeds that can wait, such as a tape."""
        ...

    async def interest(self, known: frozenset[str]) -> frozenset[str]:
        """Waits until the set of symbols that somebody watches, in any process, differs from `known`.

        A symbol that nobody watches any more stays in it for a few seconds. Many changes at once are one.

        Returns:
            That set; the next call is given it.
        """
        ...

    def alive(self) -> None:
        """Notes that the source is there, though it may have nothing to say for hours; never blocks."""
        ...

    def rest(self, symbols: frozenset[str]) -> None:
        """Says of which symbols the feed may be silent because their market is closed; never blocks.

        Args:
            symbols: All of them; what was said before is replaced.
        """
        ...

    def lack(self, symbols: frozenset[str]) -> None:
        """Says which symbols somebody watches and the feed cannot have, though it should; never blocks."""
        ...


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
        """Reads the source and offers what it says until the source ends."""
        ...


class Provider(Protocol):
    """Someone who answers questions, each for itself; one that takes too long is cancelled.

    What it does not know it refuses by `UnknownSymbolError`; whatever else goes wrong is a `ProviderError`.
    It asks once: trying again is decided by the one who asks.
    """

    @property
    def name(self) -> str:
        """Short name, such as `yahoo`."""
        ...

    @property
    def offers(self) -> frozenset[str]:
        """What it can be asked: `quote`, `historical`, `profile`, `search`, `news`."""
        ...

    @property
    def configured(self) -> bool:
        """Whether it has what it needs, such as a key; it is not asked otherwise."""
        ...

    async def quote(self, symbol: str) -> ProviderQuote:
        """The price of a symbol.

        Raises:
            UnknownSymbolError: There is no such symbol here.
            ProviderError: It cannot be had from here now.
        """
        ...

    async def historical(self, symbol: str, period: str, interval: str) -> History:
        """Candles of one of `PERIODS` and one of `INTERVALS`; raises as `quote`."""
        ...

    async def profile(self, symbol: str) -> Profile:
        """Who is behind a symbol; raises as `quote`."""
        ...

    async def search(self, query: str, limit: int) -> Sequence[Match]:
        """Symbols that fit some words, best first; none is an answer too.

        Raises:
            ProviderError: It cannot be had from here now.
        """
        ...

    async def news(self, symbol: str, limit: int) -> Sequence[Article]:
        """News about a symbol, newest first; raises as `quote`."""
        ...


CacheEntry = tuple[str, bytes, float]
"""Key, value, and the seconds after which it is gone."""


class Cache(Protocol):
    """Keeps values for a while; one that cannot be reached behaves as an empty one and never raises."""

    @property
    def name(self) -> str:
        """`memory` or `redis`."""
        ...

    @property
    def connected(self) -> bool:
        """Whether it could be reached when it was last needed; never blocks."""
        ...

    @property
    def size(self) -> int | None:
        """How many entries it holds; None when it cannot know."""
        ...

    def peek(self, key: str) -> bytes | None:
        """As `get`, but None as well where the value would have to be fetched; never blocks."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The value of a key, exactly as it was put; None when there is none, or its time is over."""
        ...

    async def put(self, entries: Sequence[CacheEntry]) -> None:
        """Keeps values in place of what was there; may drop any of them when there is no room."""
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


@runtime_checkable
class Streaming(Protocol):
    """A feed that keeps a connection to a vendor, and can say how that is."""

    def status(self) -> StreamStatus:
        """How it is right now; never blocks."""
        ...
